"""Training of re-identification models: data sets, losses, ranks, the loop, evaluation."""

# Before any torch: the package settles whether torch may look for device back ends by itself.
import zoo  # noqa: F401

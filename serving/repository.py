"""Put a bundle into a Triton repository, with options: `python -m serving.repository --bundle B --out R`.

The repository is made where there is none. Where there is one, another model becomes its next version; a
server that polls the folder changes over to it without dropping a request.
"""

import json
import shlex
import sys
from pathlib import Path

from serving.bundle import Bundle
from serving.triton.options import RepositoryOptions, read_options
from serving.triton.repository import install, server_flags
from zoo.command_line import CommandParser
from zoo.errors import exit_on_user_error


@exit_on_user_error
def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    parser = CommandParser(
        module="serving.repository",
        examples=["--bundle build/bundle --options serving.toml --out build/repository"],
        description=__doc__,
    )
    parser.add_argument(
        "--bundle", type=Path, default=Path("build/bundle"), help="what is served (default: %(default)s)"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("build/repository"), help="the repository (default: %(default)s)"
    )
    parser.add_argument(
        "--options", type=Path, metavar="TOML", help="how it is served; docs/serving.md lists the options"
    )
    parser.add_argument("--json", action="store_true", help="print the result as one JSON line")
    arguments = parser.parse_args(argv)
    options = RepositoryOptions() if arguments.options is None else read_options(arguments.options)
    repository = install(Bundle.open(arguments.bundle), arguments.out, options)
    flags = server_flags(repository.path)
    print(f"{repository.path}: {repository.card.name} as version {repository.version}")
    if flags:
        print(f"a server that serving.launch does not start needs: {shlex.join(flags)}")
    if arguments.json:
        result = {
            "repository": str(repository.path),
            "name": repository.card.name,
            "version": repository.version,
            "model_hash": repository.model_hash,
            "server_flags": flags,
        }
        print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""A case as one page to print: what was searched with, what was found and said of it, when and by whom."""

from datetime import UTC, datetime

from retrieval.cases.case import Case
from retrieval.gallery.base import Gallery
from retrieval.journeys.store import journeys_of
from retrieval.query.looks import Looks
from retrieval.results.downloads import SearchReport, to_html


def to_page(case: Case, gallery: Gallery) -> bytes:
    """Make the page of what the case holds; the pictures of results are those that the gallery has now."""
    search, findings = case.search, case.findings
    shown = [result.key for result in findings.results]
    with gallery.read_transaction():
        pictures = gallery.pictures([*shown, *search.feedback.negative])
        cameras = gallery.cameras()
    first, *others = [image.picture for image in case.images] or [b""]
    return to_html(
        SearchReport(
            findings.results,
            search.filters,
            first,
            findings.model,
            pictures,
            cameras,
            search.feedback.positive,
            findings.verdict,
            findings.false_match_rate,
            findings.searched,
            journeys_of(gallery, shown),
            title=case.name,
            facts=_facts(case, len(pictures.keys() & set(shown))),
            notes=case.notes,
            rejected=search.feedback.negative,
            other_queries=others,
        )
    )


def _facts(case: Case, still_there: int) -> list[tuple[str, str]]:
    """What was asked of which gallery, when and by whom."""
    search, findings = case.search, case.findings
    images = ", ".join(
        (image.key or "a file")
        + (f", box {','.join(f'{side:g}' for side in image.box)}" if image.box else "")
        for image in case.images
    )
    order = [
        f"{search.k or len(findings.results)} results",
        *([f"one a {search.group}"] if search.group != "none" else []),
        *(["re-ranked by mutual neighbours"] if search.rerank else []),
        *([f"looks weighed: {_named(search.looks)}"] if search.looks else []),
    ]
    told = {
        "Case": case.id + (", closed" if case.is_closed else ""),
        "Opened": _moment(case.created, case.created_by),
        "Saved": _moment(case.changed, case.changed_by),
        "Searched with": images or "the conditions alone",
        "Words": search.words,
        "Order": ", ".join(order),
        "Verdict": f"{findings.verdict} (false matches promised: {findings.false_match_rate:g})"
        if findings.verdict
        else "none: the model has no sameness calibration for this gallery"
        if case.images
        else "",
        "Marks": f"{len(search.feedback.positive)} this vehicle, {len(search.feedback.negative)} not it",
        "Gallery when saved": f"{findings.images:,} images, {findings.searched:,} of them searched",
        "Model": f"{findings.model}, {findings.model_hash[:12]}",
        "Results still in the gallery": f"{still_there} of {len(findings.results)}",
        "Watch": f"{case.alarms_per_day:g} false alarms a day" if case.is_watched else "",
    }
    return [(name, value) for name, value in told.items() if value]


def _moment(seconds: float, by: str | None) -> str:
    when = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"{when} by {by}" if by else when


def _named(looks: Looks) -> str:
    return ", ".join((*looks.colors, *looks.types)) or "what the model says of the query"

"""The page's HTML of cases: the form that saves a search as one, and the list of those that there are."""

from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape

from retrieval.cases.case import MAX_NAME, MAX_NOTES, Case
from retrieval.page.cards import button
from retrieval.page.texts import Say


def form(case: Case | None, say: Say) -> str:
    """The fields of the open case, or of one that is to be made; `cases.js` sends what is in them."""
    title = say("case.new") if case is None else case.name
    name, notes = ("", "") if case is None else (case.name, case.notes)
    save = say("case.save") if case is None else say("case.update")
    buttons = f'<button type="submit" class="vr-button" value="save">{escape(save)}</button>'
    if case is not None:
        buttons += (
            f'<button type="submit" class="vr-button" value="new">{escape(say("case.as.new"))}</button>'
        )
        buttons += button("clear", say("case.leave"))
    return (
        f'<form class="vr-case"><h2>{escape(title)}</h2>'
        f'<label>{escape(say("case.name"))}<input name="name" required maxlength="{MAX_NAME}" '
        f'value="{escape(name)}" autocomplete="off"></label>'
        f'<label>{escape(say("case.notes"))}<textarea name="notes" rows="4" maxlength="{MAX_NOTES}">'
        f"{escape(notes)}</textarea></label>"
        f'<p class="vr-note">{escape(say("case.what"))}</p><div>{buttons}</div></form>'
    )


def listed(cases: Sequence[Case], damaged: Sequence[str], opened: str, told: str, say: Say) -> str:
    """All cases, those that are open first.

    Args:
        cases: the one that was changed last first.
        damaged: ids of those whose file cannot be read.
        opened: the id of the one that the page shows.
        told: what came of the last step.
        say: the page's language.
    """
    said = f'<p class="vr-said" role="status">{escape(told)}</p>' if told else ""
    faults = "".join(f'<p class="vr-said">{escape(say("case.damaged", id=each[:8]))}</p>' for each in damaged)
    rows = "".join(
        _row(case, case.id == opened, say) for case in sorted(cases, key=lambda each: each.is_closed)
    )
    none = f'<p class="vr-note">{escape(say("case.none"))}</p>'
    return (
        f'<section class="vr-cases">{said}<h2>{escape(say("cases"))}</h2>{faults}'
        f"{f'<ol>{rows}</ol>' if rows else none}</section>"
    )


def _row(case: Case, is_opened: bool, say: Say) -> str:
    picture = f'<img loading="lazy" src="api/case-pictures/{case.id}" alt="">' if case.images else ""
    name = f"{picture}<b>{escape(case.name)}</b>"
    verdict = case.findings.verdict
    chips = [
        *([say("case.closed")] if case.is_closed else []),
        *([say(f"verdict.{verdict.replace(' ', '-')}").rstrip(".。")] if verdict else []),
        say("case.marks", yes=len(case.search.feedback.positive), no=len(case.search.feedback.negative)),
    ]
    told = "".join(f'<span class="vr-chip">{escape(chip)}</span>' for chip in chips)
    when = datetime.fromtimestamp(case.changed, UTC).strftime("%Y-%m-%d %H:%M")
    by = say("case.by", who=case.changed_by) if case.changed_by else ""
    actions = (
        f'<a class="vr-button" href="api/cases/{case.id}/export" download>{escape(say("case.export"))}</a>'
        + button("edit", say("case.reopen" if case.is_closed else "case.close"), case=case.id)
        + f"<details><summary>{escape(say('case.delete'))}</summary>"
        + button("delete", say("case.delete.really"), case=case.id)
        + "</details>"
    )
    return (
        f'<li class="vr-case-row{" vr-is-open" if is_opened else ""}" data-case="{case.id}">'
        f"{button('select', say('case.open', what=case.name), name, 'case-open', case=case.id)}"
        f'<div class="vr-chips">{told}</div>'
        f'<div class="vr-note">{escape(say("case.changed", when=when))} {escape(by)}</div>'
        f'<div class="vr-case-actions">{actions}</div></li>'
    )

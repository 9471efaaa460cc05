"""The page's HTML of cases: the form that saves a search as one, and the list of those that there are."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape

from retrieval.cases.case import MAX_NAME, MAX_NOTES, Case
from retrieval.cases.watch_state import Alarm, WatchState
from retrieval.gallery.entries import Result, format_probability
from retrieval.page.cards import button, picture_address, where
from retrieval.page.texts import Say


def form(case: Case | None, alarms: float | None, say: Say) -> str:
    """The fields of the open case, or of one that is to be made; `case.js` sends what is in them.

    Args:
        case: the open one.
        alarms: false alarms a day that its watch may raise, or that are proposed; None where there can be no
            watch.
        say: the page's language.
    """
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
        f"{_watch(alarms, say)}"
        f'<p class="vr-note">{escape(say("case.what"))}</p><div>{buttons}</div></form>'
    )


def _watch(alarms: float | None, say: Say) -> str:
    if alarms is None:
        return f'<p class="vr-note">{escape(say("watch.none"))}</p>'
    return (
        f'<label>{escape(say("watch"))}<input name="alarms" type="number" min="0" max="1000" step="any" '
        f'value="{alarms:g}"></label>'
    )


def news(
    case: Case | None, state: WatchState | None, entries: Mapping[str, Result], now: float, say: Say
) -> str:
    """What the watch on the open case has found, the newest first.

    Args:
        case: the open one.
        state: of its watch.
        entries: those of its alarms that the gallery still has.
        now: seconds since 1970.
        say: the page's language.
    """
    if case is None or state is None or not case.is_watched:
        return ""
    alarms = [alarm for alarm in reversed(state.found) if alarm.key in entries]
    promise = say(
        "watch.promise", alarms=f"{case.alarms_per_day:g}", images=f"{state.images_a_day(now):,.0f}"
    )
    seen = button("clear", say("watch.seen")) if state.unseen else ""
    rows = "".join(_alarm(alarm, entries[alarm.key], say) for alarm in alarms)
    return (
        f'<section class="vr-news"><h2>{escape(say("watch.found", count=len(alarms)))}</h2>'
        f'<p class="vr-note">{escape(promise)}</p>{seen}<ol>{rows}</ol></section>'
    )


def _alarm(alarm: Alarm, entry: Result, say: Say) -> str:
    new = "" if alarm.is_seen else f'<span class="vr-chip vr-new">{escape(say("watch.new"))}</span>'
    chance = format_probability(alarm.probability)
    expected = f"{alarm.expected:.2g}" if alarm.expected >= 0.01 else "< 0.01"
    told = say("watch.chance", chance=chance, expected=expected)
    actions = button("like", say("yes"), "✓", "yes", key=alarm.key, verdict="yes") + button(
        "submit", say("similar"), "⌕", "similar", key=alarm.key
    )
    return (
        f'<li><img loading="lazy" src="{picture_address(alarm.key)}" alt="{escape(alarm.key)}">'
        f'<div><div class="vr-chips">{new}</div>{where(entry, say)}<p>{escape(told)}</p>'
        f'<div class="vr-case-actions">{actions}</div></div></li>'
    )


def listed(
    cases: Sequence[Case],
    unseen: Mapping[str, int],
    damaged: Sequence[str],
    opened: str,
    told: str,
    say: Say,
) -> str:
    """All cases, those that are open first.

    Args:
        cases: the one that was changed last first.
        unseen: how many alarms nobody has looked at, by the ids of those that have any.
        damaged: ids of those whose file cannot be read.
        opened: the id of the one that the page shows.
        told: what came of the last step.
        say: the page's language.
    """
    said = f'<p class="vr-said" role="status">{escape(told)}</p>' if told else ""
    faults = "".join(f'<p class="vr-said">{escape(say("case.damaged", id=each[:8]))}</p>' for each in damaged)
    rows = "".join(
        _row(case, unseen.get(case.id, 0), case.id == opened, say)
        for case in sorted(cases, key=lambda each: each.is_closed)
    )
    none = f'<p class="vr-note">{escape(say("case.none"))}</p>'
    return (
        f'<section class="vr-cases" data-unseen="{sum(unseen.values())}">{said}'
        f"<h2>{escape(say('cases'))}</h2>{faults}"
        f"{f'<ol>{rows}</ol>' if rows else none}</section>"
    )


def _row(case: Case, unseen: int, is_opened: bool, say: Say) -> str:
    picture = f'<img loading="lazy" src="api/case-pictures/{case.id}" alt="">' if case.images else ""
    name = f"{picture}<b>{escape(case.name)}</b>"
    verdict = case.findings.verdict
    chips = [
        *([say("case.closed")] if case.is_closed else []),
        *([say("watch.on", alarms=f"{case.alarms_per_day:g}")] if case.is_watched else []),
        *([say(f"verdict.{verdict.replace(' ', '-')}").rstrip(".。")] if verdict else []),
        say("case.marks", yes=len(case.search.feedback.positive), no=len(case.search.feedback.negative)),
    ]
    told = (
        f'<span class="vr-chip vr-new">{escape(say("watch.unseen", count=unseen))}</span>' if unseen else ""
    )
    told += "".join(f'<span class="vr-chip">{escape(chip)}</span>' for chip in chips)
    when = datetime.fromtimestamp(case.changed, say.zone).strftime("%Y-%m-%d %H:%M")
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

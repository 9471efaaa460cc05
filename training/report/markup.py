"""Small pieces of HTML: escaped text, tables, bars, matrices."""

import html
from collections.abc import Sequence

import numpy as np

from training.report.analysis import Group


def text(value: object) -> str:
    """Escape anything, also file names that are no valid Unicode or hold control characters."""
    clean = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in f"{value}")
    return html.escape(clean.encode("utf-8", "replace").decode())


def percent(value: float) -> str:
    """A fraction as percent; a dash for one that does not exist."""
    return "-" if np.isnan(value) else f"{100 * value:.1f}"


def figure(drawing: str, title: str, caption: str) -> str:
    """A drawing under its title, with a caption that says what is to be read from it; both are markup."""
    return f"<figure><h3>{title}</h3>{drawing}<figcaption>{caption}</figcaption></figure>"


def plain_table(head: Sequence[str], rows: Sequence[Sequence[object]], summary: str = "As a table") -> str:
    """The numbers behind a drawing, folded away."""
    return f"<details><summary>{text(summary)}</summary>{table(head, rows, summary)}</details>"


def table(head: Sequence[str], rows: Sequence[Sequence[object]], label: str) -> str:
    """Rows of text under their heads; `label` is for those who hear the page."""
    top = "".join(f'<th scope="col">{text(name)}</th>' for name in head)
    body = "".join(f"<tr>{''.join(f'<td>{text(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{text(label)}"><table class="plain">'
        f"<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def bars(groups: Sequence[Group]) -> str:
    """A bar a group, from 0 to 100 percent."""
    rows = [
        f"<li><span>{text(group.name)}</span>"
        f'<span class="track"><span style="width:{100 * group.precision:.1f}%"></span></span>'
        f"<b>{percent(group.precision)}</b><small>{group.count} {'query' if group.count == 1 else 'queries'}"
        "</small></li>"
        for group in groups
    ]
    return f'<ul class="bars">{"".join(rows)}</ul>'


def matrix(
    label: str,
    names: Sequence[str],
    shares: np.ndarray,
    cells: Sequence[Sequence[str]],
    titles: Sequence[Sequence[str]],
    tilted: bool = False,
) -> str:
    """A square table whose cells are the darker the greater their share.

    Args:
        label: for those who hear the page.
        names: of rows and columns.
        shares: [N, N] in 0..1; NaN for a cell without anything.
        cells: what stands in each.
        titles: what each says when it is pointed at.
        tilted: turns the columns' names on their side.
    """
    head = "".join(f'<th scope="col"><span>{text(name)}</span></th>' for name in names)
    rows = []
    for i, name in enumerate(names):
        row = [f'<th scope="row">{text(name)}</th>']
        for j in range(len(names)):
            share = shares[i, j]
            kinds = ["none" if np.isnan(share) else "dark" if share > 0.55 else ""]
            kinds += ["diagonal"] if i == j else []
            style = "" if np.isnan(share) else f' style="--v:{100 * share:.0f}%"'
            kind = " ".join(filter(None, kinds))
            row.append(f'<td class="{kind}"{style} title="{text(titles[i][j])}">{text(cells[i][j])}</td>')
        rows.append(f"<tr>{''.join(row)}</tr>")
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{text(label)}">'
        f'<table class="matrix{" tilted" if tilted else ""}"><thead><tr><td class="none"></td>{head}</tr>'
        f"</thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def section(name: str, title: str, body: str) -> str:
    """A part of the page under a heading of its own; `body` is markup."""
    return f'<section id="{name}" aria-label="{text(title)}"><h2>{text(title)}</h2>{body}</section>'

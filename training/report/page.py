"""The report's page, from an evaluation to one HTML file."""

from dataclasses import dataclass
from pathlib import Path

from training.evaluation.promises import judge_promises
from training.evaluation.protocol import Embedded, Evaluation
from training.report.analysis import analyse
from training.report.attribute_section import attributes_section
from training.report.markup import section, text
from training.report.ranking_sections import cameras_section, groups_section, ranking_section, summary
from training.report.saliency import Regions
from training.report.sameness_section import sameness_section
from training.report.strips import Strips, make_strips
from zoo.card import Card
from zoo.files import write_text
from zoo.sameness import Sameness

STYLE_SHEET = Path(__file__).parent / "page.css"


@dataclass(frozen=True)
class Subject:
    """What is reported on: the data set's name, the model's card, the device, and the command that did it."""

    dataset: str
    card: Card
    device: str
    command: str


def write_report(
    path: Path, found: Embedded, evaluation: Evaluation, regions: Regions | None, subject: Subject
) -> None:
    """Write the page, whole or not at all.

    Args:
        path: of the HTML file.
        found: embeddings and probabilities, with the records that they are of.
        evaluation: of them.
        regions: for the heat maps; None leaves them out.
        subject: what is reported on.

    Raises:
        UserError: an image cannot be used, or the file not be written.
    """
    analysis = analyse(found)
    sameness = Sameness.of(subject.card)
    promises = None if sameness is None else judge_promises(sameness, found)
    strips = make_strips(found, evaluation, regions, subject.card)
    sections = [
        summary(evaluation),
        ranking_section(evaluation, analysis),
        groups_section(found, evaluation),
        cameras_section(analysis),
        attributes_section(evaluation, subject.card),
        sameness_section(promises, subject.card, subject.dataset),
        _strips(strips),
    ]
    title = f"{subject.card.name} on {subject.dataset}"
    links = {
        "figures": "Figures",
        "ranking": "Ranking",
        "groups": "What is hard",
        "cameras": "Cameras",
        "attributes": "Colour and type",
        "sameness": "Sure or not",
        "strips": "Queries",
    }
    write_text(
        path,
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">"
        f"<title>{text(title)}</title>"
        f"<style>{STYLE_SHEET.read_text(encoding='utf-8')}{strips.style}</style></head><body>"
        f'{_header(evaluation, subject)}<nav aria-label="Sections">'
        + "".join(f'<a href="#{name}">{words}</a>' for name, words in links.items())
        + f"</nav></header><main>{''.join(sections)}</main>{_footer(subject)}</body></html>\n",
    )


def _header(evaluation: Evaluation, subject: Subject) -> str:
    card = subject.card
    facts = {
        "input": f"{card.input_size[0]}x{card.input_size[1]}",
        "embedding": f"{card.outputs['embedding']}, {card.metric}",
        "trained by recipe": card.recipe or "-",
        "weights": f"sha256 {card.weights_sha256[:12]}" if card.weights_sha256 else "-",
        "licence": card.licence or "-",
        "device": subject.device,
    }
    listed = "".join(f"<div><dt>{text(k)}</dt><dd>{text(v)}</dd></div>" for k, v in facts.items())
    return (
        f"<header><h1>{text(card.name)} on {text(subject.dataset)}</h1>"
        f'<p class="lead">Vehicle re-identification: {evaluation.ranking.num_queries:,} queries in '
        f"{evaluation.num_gallery:,} gallery images, by VeRi's protocol.</p>"
        f'<dl class="facts">{listed}</dl>'
    )


def _footer(subject: Subject) -> str:
    return (
        "<footer><p>Gallery images of the query's own vehicle at its own camera are left out of "
        "every ranking "
        "and of every figure here. mAP: mean over queries of the mean precision at their matches. mINP: mean "
        "of the share of matches among the results up to the last match. Macro F1: mean over the classes. "
        f"ECE: expected calibration error, 15 bins.</p><p>Made by "
        f"<code>{text(subject.command)}</code></p></footer>"
    )


def _strips(strips: Strips) -> str:
    if not strips.markup:
        return section("strips", "Queries", "<p>No query has a match in the gallery.</p>")
    key = (
        "<li><i></i>✓ right: the query's vehicle at another camera</li>"
        '<li><i class="no"></i>✗ wrong: another vehicle</li>'
    )
    words = (
        "Each row is a query and its nearest gallery images. Where no result shown is right, the first right "
        "one comes last."
    )
    if strips.with_regions:
        key += '<li><i class="hot"></i>regions that made the two alike</li>'
        words += (
            " Below each result, query (left) and result (right) with the regions that made them "
            "more alike than "
            "any two vehicles are: each position's share in the similarity, through the pooling, of "
            "the network "
            "linearised where it stands. The strongest position of each picture is brightest, so "
            "colours compare "
            "within a picture, not between pictures; and a map is as coarse as the network's last maps."
        )
    else:
        words += " This network does not say where its last maps are, so there are no heat maps."
    return section(
        "strips", "Queries", f'<p class="lead">{words}</p><ul class="key">{key}</ul>{strips.markup}'
    )

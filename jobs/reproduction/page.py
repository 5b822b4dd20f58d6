"""Writes a reproduction's results: an HTML page, the same as Markdown, and every table as CSV."""

from collections.abc import Mapping, Sequence

from colorgan.evaluation.page import data_uri, render
from colorgan.evaluation.tables import to_csv, to_markdown
from colorgan.storage import Storage
from jobs.reproduction.plan import Reproduction, StepRecord
from jobs.reproduction.scales import SCALES
from jobs.reproduction.sections.section import Section


def write_page(
    storage: Storage,
    reproduction: Reproduction,
    sections: Sequence[Section],
    records: Mapping[str, StepRecord],
) -> None:
    """Write index.html, results.md, tables/ and figures/ to the reproduction's folder.

    Args:
        storage: storage of the reproduction.
        reproduction: the reproduction.
        sections: sections of the page, in order.
        records: records of the finished steps, by name.

    Raises:
        NotInStorage: a section's picture is missing.
    """
    for section in sections:
        for table in section.tables:
            storage.put(reproduction.key(f"tables/{table.name}.csv"), to_csv(table.data))
        for figure in section.figures:
            storage.put(reproduction.key(f"figures/{figure.name}.svg"), figure.svg)
            storage.put(reproduction.key(f"figures/{figure.name}.png"), figure.png)
    facts = _facts(reproduction, records)
    markdown = _markdown(reproduction, sections, records, facts)
    storage.put(reproduction.key("results.md"), markdown.encode())
    page = render(
        "reproduction.html.j2",
        templates="jobs.reproduction",
        reproduction=reproduction,
        facts=facts,
        records=records,
        sections=[
            (
                section,
                [(each, data_uri("image/svg+xml", each.svg)) for each in section.figures],
                [
                    (each, data_uri("image/png", storage.get(reproduction.key(each.file))))
                    for each in section.pictures
                ],
            )
            for section in sections
        ],
    )
    storage.put(reproduction.key("index.html"), page.encode())


def _facts(reproduction: Reproduction, records: Mapping[str, StepRecord]) -> dict[str, str]:
    """The provenance of the numbers, by heading: scale, dataset, machine, date, versions, time."""
    machine = reproduction.machine
    versions = machine.get("versions", {})
    commit = str(machine.get("commit") or "unknown")[:12]
    counted = ", ".join(f"{label} {n:,}" for label, n in reproduction.photographs.items())
    seconds = sum(record.seconds for record in records.values())
    return {
        "Scale": f"{reproduction.scale}: {SCALES[reproduction.scale].description}",
        "Dataset": f"{reproduction.dataset['name']}, training photographs: {counted}; fingerprint "
        f"{reproduction.dataset['fingerprint']}",
        "Machine": f"{machine.get('gpu') or machine.get('cpu')}, {machine.get('cores')} cores",
        "Date": reproduction.created[:10],
        "Commit": commit + (" and changes" if machine.get("dirty") else ""),
        "Versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "Time of all steps": f"{seconds / 60:.0f} minutes",
    }


def _markdown(
    reproduction: Reproduction,
    sections: Sequence[Section],
    records: Mapping[str, StepRecord],
    facts: Mapping[str, str],
) -> str:
    lines = [f"# The report's questions, answered again: {reproduction.name}", ""]
    lines += [f"- {name}: {words}" for name, words in facts.items()]
    for section in sections:
        lines += ["", f"## {section.question}", "", f"The 2018 report: {section.report}", ""]
        lines += [f"- {sentence}" for sentence in section.follows]
        for table in section.tables:
            lines += ["", "#" + to_markdown(table).decode().rstrip()]
            lines += ["", f"Unrounded: [{table.name}.csv](tables/{table.name}.csv)"]
        for figure in section.figures:
            lines += ["", f"![{figure.title}](figures/{figure.name}.svg)", "", figure.caption]
        commands = [records[step].command for step in section.steps if step in records]
        if commands:
            lines += ["", "Made by:", "", *(f"    {command}" for command in commands)]
    return "\n".join(lines) + "\n"

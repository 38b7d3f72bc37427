"""What results look like in a notebook."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import jinja2

STYLE = """
.imbalance-lens { max-width: 50em; line-height: 1.4 }
.imbalance-lens table { border-collapse: collapse; font-variant-numeric: tabular-nums }
.imbalance-lens th, .imbalance-lens td { padding: .2em .8em; text-align: right }
.imbalance-lens th[scope=row] { text-align: left; font-weight: normal; overflow-wrap: anywhere }
.imbalance-lens thead th { border-bottom: 1px solid currentColor }
.imbalance-lens .words :is(th, td) { text-align: left; vertical-align: top }
.imbalance-lens ul { padding-left: 1.2em }
.imbalance-lens small { opacity: .75 }
"""
"""Of everything that is shown in notebooks; colors are the notebook's own."""

Row = Sequence[object]


def as_table(
    *groups: tuple[str, Iterable[Row]],
    title: str = "",
    header: Sequence[str] = (),
    notes: Iterable[str] = (),
    words: bool = False,
) -> str:
    """Return rows as a fragment of HTML, all of it escaped.

    Args:
        groups: heading, which may be empty, and rows, whose first cell names them.
        title: above the table.
        header: one per column.
        notes: below the table.
        words: whether cells hold words, which begin on the left, not numbers.

    Example:
        >>> print(as_table(("", [["a < b", 1]])).splitlines()[-4])
        <tr><th scope="row">a &lt; b</th><td>1</td></tr>
    """
    return _template().render(
        groups=groups, title=title, header=header, notes=notes, words=words, style=STYLE
    )


def bold(text: str) -> object:
    """Return a cell whose text, escaped, is bold."""
    from markupsafe import Markup

    return Markup("<b>{}</b>").format(text)


@cache
def _template() -> jinja2.Template:
    import jinja2

    return jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    ).from_string(_TABLE)


_TABLE = """\
<div class="imbalance-lens">
<style>{{ style | safe }}</style>
{% if title %}
<p><strong>{{ title }}</strong></p>
{% endif %}
<table{% if words %} class="words"{% endif %}>
{% if header %}
<thead><tr>{% for name in header %}<th scope="col">{{ name }}</th>{% endfor %}</tr></thead>
{% endif %}
{% for heading, rows in groups %}
<tbody>
{% if heading %}
<tr><th colspan="2" scope="rowgroup"><b>{{ heading }}</b></th></tr>
{% endif %}
{% for row in rows %}
<tr><th scope="row">{{ row[0] }}</th>{% for cell in row[1:] %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}
</tbody>
{% endfor %}
</table>
{% for note in notes %}
<p><small>{{ note }}</small></p>
{% endfor %}
</div>"""

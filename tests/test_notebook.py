"""What results look like in notebooks: tables in which nothing that users name is HTML."""

import subprocess
import sys
import types
from html.parser import HTMLParser

import pytest

import recipes
from imbalance_lens import Anatomy, explain
from imbalance_lens.notebook import as_table, bold
from imbalance_lens.progress import bar
from recipes._base import Card
from tests.recipes.trainings import loader_of, model_of, sgd

EVIL = "<script>alert('x')</script> & \"y\""


class Page(HTMLParser):
    """Tags that are closed as they were opened, and the text of the cells."""

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.rows = [], [], []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        assert not [name for name, _ in attrs if name.startswith("on") or name in ("src", "href")]
        self.open.append(tag)
        self.tags.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data


@pytest.fixture(scope="module")
def fit():
    given = {"val_loader": loader_of(), "optimizer": sgd, "device": "cpu", "progress": False}
    return recipes.apply("ogm_ge", model_of(), loader_of(), epochs=2, seed=0, **given)


def test_nothing_that_is_given_becomes_html():
    page = Page(as_table((EVIL, [[EVIL, bold(EVIL)]]), title=EVIL, header=[EVIL], notes=[EVIL]))
    assert "script" not in page.tags
    assert page.rows[-1] == [EVIL, EVIL]


def test_an_anatomy_is_a_table_of_its_parts():
    known = {"ear": "found: its output depends on 'audio' alone"}
    who = Anatomy({"audio": "ear", EVIL: "eye"}, head="head", fusion=("mix",), evidence=known)
    rows = Page(who._repr_html_()).rows
    assert rows == [
        ["part", "module", "how that is known"],
        ["audio", "ear", known["ear"]],
        [EVIL, "eye", "given"],
        ["fusion", "mix", "given"],
        ["head", "head", "given"],
    ]
    assert repr(who).startswith("Anatomy(encoders=")


def test_an_explanation_has_the_rows_that_it_prints():
    shown = explain(Anatomy({"audio": "ear", "visual": "eye"}, head="head"))
    rows = Page(shown._repr_html_()).rows
    assert ["encoder", "ear"] in rows
    assert all(cell in str(shown) for row in rows[:6] for cell in row)


def test_a_fit_is_a_table_of_what_its_summary_says(fit):
    rows = Page(fit._repr_html_()).rows
    assert rows
    assert all(label in fit.summary() and number in fit.summary() for label, number in rows)
    assert "ogm_ge: 2 epochs, 6 steps (" in fit._repr_html_()


@pytest.mark.parametrize("name", recipes.names())
def test_a_card_is_a_table_of_what_describe_says(name):
    card = recipes.get(name).card
    rows = Page(card._repr_html_()).rows
    told = "".join(recipes.describe(name).split())  # lines end inside words with hyphens
    assert [label for label, _ in rows][:2] == ["paper", "equations"]
    assert all("".join(text.split()) in told for _, text in rows)


def test_a_card_of_ones_own_is_escaped():
    card = Card(EVIL, EVIL, EVIL, (), (), EVIL, EVIL, deviations=(EVIL,))
    page = Page(card._repr_html_())
    assert "script" not in page.tags
    assert ["differs", EVIL] in page.rows


def test_a_comparison_is_a_table_with_the_best_in_bold():
    loaders = {"train": loader_of(), "test": loader_of()}
    given = {"optimizer": sgd, "device": "cpu", "flops": False}
    found = recipes.compare({EVIL: "ogm_ge"}, model_of, loaders, epochs=1, seeds=2, **given)
    page = Page(found._repr_html_())
    assert page.rows[0][:2] == ["", "accuracy %"]
    assert [row[0] for row in page.rows[1:]] == ["none", EVIL]
    assert page.tags.count("b") == found.table().count("**") // 2
    assert "2 seeds" in found._repr_html_()


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch):
    """A kernel of Jupyter, as far as one asks for it; without ipywidgets."""
    shell = types.SimpleNamespace(config={"IPKernelApp": {}})
    fake = types.ModuleType("IPython")
    fake.get_ipython = lambda: shell  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, "IPython", fake)
    monkeypatch.setattr("imbalance_lens.progress.find_spec", lambda _: None)
    return shell


def test_a_notebook_shows_bars_without_ipywidgets_and_without_a_warning(notebook, capsys):
    assert list(bar(range(3), desc="here")) == [0, 1, 2]
    assert "here: 100%" in capsys.readouterr().err
    assert list(bar(range(3), show=False)) == [0, 1, 2]
    assert capsys.readouterr().err == ""


def test_elsewhere_a_bar_is_shown_where_asked_for(capsys):
    list(bar(range(3), desc="here"))
    assert capsys.readouterr().err == ""
    list(bar(range(3), desc="here", show=True))
    assert "here: 100%" in capsys.readouterr().err


def test_a_console_of_ipython_is_no_notebook(notebook, capsys):
    notebook.config = {}
    list(bar(range(3)))
    assert capsys.readouterr().err == ""


def test_a_training_in_a_notebook_shows_its_epochs(notebook, capsys):
    recipes.apply("none", model_of(), loader_of(), epochs=1, optimizer=sgd, device="cpu")
    assert "epoch 1/1: 100%" in capsys.readouterr().err


def test_tables_are_made_without_torch():
    code = (
        "import sys; from imbalance_lens.notebook import as_table; as_table(('', [['a', 1]]));"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"

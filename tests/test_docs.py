"""The documentation's own promises: its code prints what it says, its generated parts are true."""

import ast
import contextlib
import importlib
import inspect
import io
import pkgutil
import re
import runpy
import typing
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path

import pytest

import mrs_necrosis
from mrs_necrosis.cohort.listing import TABLE_COLUMNS as TABLE_COLUMNS
from mrs_necrosis.cohort.listing import table_units
from mrs_necrosis.criteria import load_criteria
from mrs_necrosis.io import read_peaks

DOCS = Path(__file__).resolve().parents[1] / "docs"
_TESTED = re.compile(r"<!-- tested -->\n```python\n(.*?)```\n\n```text\n(.*?)```", re.DOTALL)
PAGES = [
    path.relative_to(DOCS).as_posix()
    for path in sorted(DOCS.rglob("*.md"))
    if "_generated" not in path.parts and _TESTED.search(path.read_text("utf-8"))
]
_AUTO = re.compile(r"^\.\. auto(\w+):: (\S+)$", re.MULTILINE)


def documented():
    return [
        match
        for path in sorted((*(DOCS / "api").glob("*.md"), *DOCS.glob("*.md")))
        for match in _AUTO.findall(path.read_text("utf-8"))
    ]


def defined(name):
    module, _, last = name.rpartition(".")
    return getattr(importlib.import_module(module), last)


@pytest.mark.parametrize("page", PAGES)
def test_the_code_of_a_page_prints_what_the_page_says(page):
    names = {}
    for code, printed in _TESTED.findall((DOCS / page).read_text("utf-8")):
        output = io.StringIO()

        with contextlib.redirect_stdout(output):
            exec(compile(code, page, "exec"), names)

        assert output.getvalue() == printed


def test_the_peak_table_of_its_page_is_one(tmp_path):
    page = (DOCS / "formats" / "peak_table.md").read_text("utf-8")
    [table] = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    path = tmp_path / "case.toml"
    path.write_text(table, encoding="utf-8")

    assert read_peaks(path).covariance is not None


def test_the_table_of_inputs_of_its_page_is_one(tmp_path):
    page = (DOCS / "cohorts.md").read_text("utf-8")
    table = re.search(r"```text\n(input.*?)```", page, re.DOTALL)[1]
    path = tmp_path / "inputs.csv"
    path.write_text(table, encoding="utf-8")

    first, second = table_units(path)

    assert (first.name, first.water.name) == ("case-a", "a_ref.SDAT")
    assert (second.name, second.water, second.given) == ("case-b", None, {"echo_time_s": 0.144})
    assert all(f"`{name}`" in page or name in table for name in TABLE_COLUMNS)


def test_the_table_of_peaks_of_its_page_is_one(tmp_path):
    page = (DOCS / "cohorts.md").read_text("utf-8")
    path = tmp_path / "peaks.csv"
    path.write_text(re.search(r"```text\n(label.*?)```", page, re.DOTALL)[1], encoding="utf-8")

    first, second = table_units(path)

    assert (first.name, first.peaks) == ("p01", "LL=108964 Cho=33671 Cr=29534 NAA=31278")
    assert (second.peaks, second.given) == ("Cho=2.6 Cr=1.1 NAA=0.9", {"echo_time_s": 0.144})


def test_every_public_name_is_documented():
    found = {id(defined(name)) for _, name in documented()}

    packages = [mrs_necrosis, *(
        importlib.import_module(one.name)
        for one in pkgutil.walk_packages(mrs_necrosis.__path__, "mrs_necrosis.")
        if one.ispkg
    )]  # fmt: skip

    missing = [
        f"{package.__name__}.{name}"
        for package in packages
        for name in getattr(package, "__all__", ())
        if not name.startswith("__") and id(getattr(package, name)) not in found
    ]

    assert missing == []


def callables(thing):
    """Return a function, or a class with its public methods and properties."""
    if not inspect.isclass(thing):
        return [thing]
    members = [one for name, one in vars(thing).items() if not name.startswith("_")]
    inner = [getattr(one, "fget", None) or getattr(one, "__func__", one) for one in members]
    return [thing, *filter(inspect.isfunction, inner)]


@pytest.mark.parametrize("name", sorted({name for _, name in documented()}))
def test_hints_can_be_asked_for_by_other_libraries(name):
    thing = defined(name)

    for one in callables(thing):
        if one.__module__.startswith("mrs_necrosis"):
            typing.get_type_hints(one)

    if is_dataclass(thing):
        assert typing.get_type_hints(thing).keys() >= {field.name for field in fields(thing)}


def names_used(tree):
    """Return the names that a module loads or imports from another."""
    loaded = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return loaded, attributes | {one.name for node in imports for one in node.names}


def test_what_the_library_itself_does_not_use_is_for_users_and_documented():
    root = DOCS.parent / "mrs_necrosis"
    trees = {path: ast.parse(path.read_text("utf-8")) for path in root.rglob("*.py")}
    used = {path: names_used(tree) for path, tree in trees.items()}
    on_pages = {name.rpartition(".")[2] for _, name in documented()}

    missing = [
        f"{path.relative_to(root)}: {node.name}"
        for path, tree in trees.items()
        for node in tree.body
        if isinstance(node, (ast.FunctionDef, ast.ClassDef))
        and not node.name.startswith("_")
        and node.name not in on_pages
        and node.name not in used[path][0]
        and not any(node.name in names for _, names in used.values())
    ]

    assert missing == []


def examples():
    """Return the code of every page that is run."""
    return "".join(
        code for page in PAGES for code, _ in _TESTED.findall((DOCS / page).read_text("utf-8"))
    )


@pytest.mark.parametrize("name", [name for kind, name in documented() if kind == "function"])
def test_every_documented_function_has_an_example(name):
    in_code = re.search(rf"\b{name.rpartition('.')[2]}\(", examples())

    assert in_code or ">>> " in inspect.getdoc(defined(name))


@pytest.mark.parametrize("name", sorted({name for _, name in documented()}))
def test_every_argument_of_a_public_name_is_explained(name):
    thing = defined(name)
    plain = issubclass(thing, (Exception, Enum)) if inspect.isclass(thing) else False
    names = [] if plain else list(inspect.signature(thing).parameters)

    said = inspect.getdoc(thing)

    unsaid = [one for one in names if one[0] != "_" and not re.search(rf"\b{one}\b", said)]
    assert unsaid == []
    assert not names or re.search(r"^(Parameters|Attributes)\n---", said, re.MULTILINE)


def test_every_shipped_criterion_stands_on_the_criteria_page_with_its_source():
    page = runpy.run_path(str(DOCS / "generate.py"))["criteria_part"]()

    for criterion in load_criteria():
        assert page.count(f"(criterion-{criterion.id.replace('_', '-')})=\n") == 1
        assert criterion.citation.partition(",")[0] in page
    assert page.count("**Not applied.**") == sum(not one.enabled for one in load_criteria())


def test_every_page_is_in_a_table_of_contents():
    for folder in (DOCS, DOCS / "formats", DOCS / "api"):
        listed = re.findall(r"^[\w/]+$", (folder / "index.md").read_text("utf-8"), re.MULTILINE)
        for page in folder.glob("*.md"):
            assert page.stem == "index" or page.stem in listed, page

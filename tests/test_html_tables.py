"""Tables of HTML pages as a careful reader reads them, or refused with the reason."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factloop.corpora.rows import Rule
from factloop.corpora.wikipedia import page_tables

pytestmark = pytest.mark.unit


def read_page(*tables: str, prose: str = "<p><b>The Cup</b> is old.</p>") -> list[Any]:
    return page_tables(f"<html><body>{prose}<h2>Results</h2>{''.join(tables)}</body></html>".encode())[2]


def wiki(*lines: str) -> str:
    return f"<table class='wikitable'>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def td(*cells: str) -> str:
    return "".join(f"<td>{cell}</td>" for cell in cells)


def th(*cells: str) -> str:
    return "".join(f"<th>{cell}</th>" for cell in cells)


def table(*lines: str) -> tuple[list[str], list[list[str]]]:
    (found,) = read_page(wiki(*lines))
    return found.header, found.rows


def test_a_short_row_is_empty_at_its_end_and_what_spans_into_it_stays_in_its_column() -> None:
    header, rows = table(th("a", "b", "c", "d"), td("1", "2", "3") + "<td rowspan=2>4</td>", td("5"), td("6", "7", "8", "9", "10"))
    assert header == ["a", "b", "c", "d", ""]  # a row longer than the header has a column without a name
    assert rows == [["1", "2", "3", "4", ""], ["5", "", "", "4", ""], ["6", "7", "8", "9", "10"]]


def test_merged_cells_are_repeated_and_end_with_their_group_of_rows() -> None:
    (found,) = read_page(
        "<table class=wikitable><thead><tr><td rowspan=9>Name</td><th colspan=2>Goals</th></tr><tr><td>For</td><td>Against</td></tr></thead>"
        "<tbody><tr><td rowspan=0>Ann</td><td colspan=2>1</td></tr><tr><td>2</td><td>3</td></tr></tbody><tbody><tr><td>Bea</td><td>4</td></tr></tbody></table>"
    )
    assert found.header == ["Name", "Goals For", "Goals Against"]
    assert found.rows == [["Ann", "1", "1"], ["Ann", "2", "3"], ["Bea", "4", ""]]


def test_a_line_that_is_one_cell_is_a_title_and_headers_within_the_table_are_no_data() -> None:
    (found,) = read_page(
        wiki(
            "<th colspan=2>Winners</th>",
            th("Name", "Year"),
            td("Ann", "1999"),
            "<td colspan=2>Later</td>",
            th("Name", "Year"),
            td("Bea", "2001"),
        )
    )
    assert found.caption == "Winners" and found.header == ["Name", "Year"] and found.rows == [["Ann", "1999"], ["Bea", "2001"]]
    assert table(td("1", "2"), "<th>Ann</th><td></td>")[1] == [["1", "2"], ["Ann", ""]]  # a row that has but its name is data


def test_a_table_in_a_cell_is_one_of_its_own() -> None:
    inner = wiki(th("x", "y"), td("inner", "7"))
    outer, own = read_page(wiki(th("a", "b"), f"<td>outer {inner} end</td><td>1</td>"))
    assert outer.rows == [["outer end", "1"]] and own.rows == [["inner", "7"]] and own.header == ["x", "y"]
    (found,) = read_page(f"<table><tr><td>layout</td><td>{inner}</td></tr></table>")
    assert found.rows == [["inner", "7"]]


def test_empty_headers_stay_empty_and_columns_of_one_name_keep_it() -> None:
    header, rows = table(th("", "Year", "Year", "Unnamed: 3"), td("Ann", "1999", "2001", "nan"))
    assert header == ["", "Year", "Year", "Unnamed: 3"] and rows == [["Ann", "1999", "2001", "nan"]]
    assert table(td("Ann", "1999"), td("Bea", "2001")) == (
        ["", ""],
        [["Ann", "1999"], ["Bea", "2001"]],
    )  # nothing says that the first is a header


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("1,234[3]", "1,234"),
        ("1,234<sup>[3]</sup>", "1,234"),
        ("1,234<sup class='reference'>[note 2]</sup>", "1,234"),
        ("1,234<sup>a</sup>", "1,234"),
        ("Velling<sup>2</sup>", "Velling"),
        ("10<sup>6</sup>", "10^6"),
        ("12&nbsp;km<sup>2</sup>", "12 km2"),
        ("21<sup>st</sup>", "21st"),
        ("[a]", "[a]"),
        ("007", "007"),
        ("1.50", "1.50"),
        ("N/A", "N/A"),
        ("1999<br>2001", "1999 2001"),
        ("<ul><li>Ann</li><li>Bea</li></ul>", "Ann Bea"),
        ("A<b>n</b>n <i>Lee</i>", "Ann Lee"),
        ("<span style='display: none'>0012</span>12", "12"),
        ("&lt;script&gt;", "&lt;script&gt;".replace("&lt;", "<").replace("&gt;", ">")),
        ("Jose\u0301\u00ad \u200eReyes", "José Reyes"),
        ("東京 Tokyo Москва", "東京 Tokyo Москва"),
    ],
)  # fmt: skip
def test_a_cell_is_read_as_it_is_seen(markup: str, text: str) -> None:
    assert table(th("a", "b"), td("name", markup))[1] == [["name", text]]


def test_tables_of_any_size_are_read_or_refused_at_once() -> None:
    (big,) = read_page(wiki(th(*map(str, range(20))), *(td(*["1"] * 20) for _ in range(4_000))))
    assert len(big.rows) == 4_000 and len(big.rows[0]) == 20
    huge, small = read_page(wiki(*["<td colspan=200>1</td>"] * 10_000), wiki(th("a", "b"), td("1", "2")))
    assert isinstance(huge, Rule) and "more than 200,000 cells" in str(huge)
    assert small.rows == [["1", "2"]]  # the page's other tables are read
    for lines, says in (([td("1")] * 10_001, "10,001 rows"), ([td(*["1"] * 201)], "201 columns")):
        (refused,) = read_page(wiki(*lines))
        assert isinstance(refused, Rule) and says in str(refused)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_division_of_a_rectangle_into_cells_is_put_together_again(data: st.DataObject) -> None:
    width, height = data.draw(st.integers(2, 5)), data.draw(st.integers(1, 5))
    grid: list[list[str]] = [[""] * width for _ in range(height)]
    lines = [th(*(f"column {number}" for number in range(width)))]
    for row in range(height):
        cells = ""
        for column in range(width):
            if grid[row][column]:
                continue
            free = next((at for at in range(column, width) if grid[row][at]), width) - column
            across = data.draw(st.integers(1, min(free, width - 1)))
            down = data.draw(st.integers(1, height - row))
            name = f"cell {row} {column}"
            for at in range(row, row + down):
                grid[at][column : column + across] = [name] * across
            cells += f"<td rowspan={down} colspan={across}>{name}</td>"
        lines.append(cells)
    assert table(*lines)[1] == grid


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(["<table class=wikitable>", "</table>", "<tr>", "<th>", "<td rowspan=3>", "<td colspan=2>", "<td rowspan=x>", "</td>", "<p><b>a</b> b.</p>", "<sup>1</sup>", "<br>", "<!--", "-->", "\x08", "&#31;", "<sup>", "<?xml version='1.0' encoding='utf-8'?>", "&#0;", "é", "<caption>"]) | st.text(max_size=5)).map("".join))  # fmt: skip
def test_whatever_the_page_tables_of_one_width_or_the_reason(content: str) -> None:
    try:
        found = page_tables(content.encode())[2]
    except Rule as rule:
        assert str(rule)
        return
    for one in found:
        assert one is None or isinstance(one, Rule) or {len(row) for row in one.rows} == {len(one.header)}


def test_a_page_that_is_not_of_wikipedia_is_read_by_its_heading_and_header_cells() -> None:
    content = b"<?xml version='1.0' encoding='utf-8'?><html><head><title>T</title></head><body><h1>Cup</h1><p>It is old.</p><table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2</td></tr></table><table><tr><td>menu</td><td>x</td></tr></table></body></html>"
    page, prose, (found,) = page_tables(content)
    assert (page, prose, found.rows) == ("Cup", "It is old.", [["1", "2"]])

"""Configurations and tables as text: what goes out comes back, and names are unique."""

import itertools
import math
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pytest

from experiments import tables


@dataclass(frozen=True)
class Inner:
    rate: float = 1e-3
    heat: tuple[float, ...] = (0.1, 0.01)
    deep: bool = False


@dataclass(frozen=True)
class Config:
    convention: str
    seed: int
    factor: float = 1.0
    names: tuple[str, ...] = ("a b", "c")
    most: int | None = None
    inner: Inner = Inner()
    other: Inner | None = None


VARIED = [
    Config(convention, seed, factor, names, most, inner, other)
    for convention, seed, factor, names, most, inner, other in itertools.product(
        ("CLASSIC", "Jansen and Rit's, 200"),
        (1, 23),
        (1.0, 1e-300, 0.1, 1e6),
        (("a b", "c"), (), ("a",)),
        (None, 0),
        (Inner(), Inner(2e-3), Inner(deep=True), Inner(heat=())),
        (None, Inner(), Inner(2e-3)),
    )
]


def test_a_configuration_comes_back_from_its_cells():
    kinds = {name: kind for name, (kind, _) in tables.fields(Config).items()}
    for config in VARIED:
        cells = {name: tables.show(value) for name, value in tables.to_row(config).items()}
        row = {name: tables.parse(text, kinds[name], name) for name, text in cells.items()}
        assert tables.from_row(Config, row) == config


def test_two_configurations_never_have_the_same_name():
    names = {tables.run_name(config) for config in VARIED}
    assert len(names) == len(VARIED)
    assert all("/" not in name and "," not in name and " " not in name for name in names)


def test_names_read_well():
    assert tables.run_name(Config("CLASSIC", 2025)) == "CLASSIC-seed2025"
    assert tables.run_name(Config("CLASSIC", 1, 1e4)) == "CLASSIC-seed1-factor=10000"
    inner = Config("CLASSIC", 1, inner=Inner(0.5), other=Inner(0.5))
    assert tables.run_name(inner).startswith("CLASSIC-seed1-inner.rate=0.5-other.rate=0.5")


def test_fields_that_follow_from_others_are_not_in_the_name():
    @dataclass(frozen=True)
    class Silent:
        method: str
        inner: Inner | None = field(default=None, metadata={"named": False})

    assert tables.run_name(Silent("a", Inner(0.5))) == "a"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (Config("CLASSIC", 1.0), "Config.seed: got 1.0, expected int"),
        (Config("CLASSIC", True), "Config.seed: got True"),
        (Config("CLASSIC", 1, 2), "Config.factor: got 2, expected float"),
        (Config("CLASSIC", 1, np.float64(2)), "Config.factor"),
        (Config("CLASSIC", 1, math.nan), "Config.factor: got nan"),
        (Config("", 1), "Config.convention: got ''"),
        (Config("a\nb", 1), "Config.convention"),
        (Config("CLASSIC", 1, names=["a"]), "Config.names: got"),
        (Config("CLASSIC", 1, names=("a; b",)), "Config.names"),
        (Config(None, 1), "Config.convention: got None"),
        (Config("CLASSIC", 1, inner=Inner(1)), "Config.inner.rate: got 1"),
    ],
)
def test_a_value_of_another_type_is_named(config, message):
    with pytest.raises(ValueError, match=message):
        tables.check(config)


def test_unknown_and_missing_fields_are_named():
    with pytest.raises(ValueError, match="colour: Config has no such field"):
        tables.from_row(Config, {"convention": "a", "seed": 1, "colour": "red"})
    with pytest.raises(ValueError, match="seed: Config needs this field"):
        tables.from_row(Config, {"convention": "a"})


def test_only_frozen_dataclasses_of_plain_types_are_configurations():
    @dataclass
    class Loose:
        x: int

    @dataclass(frozen=True)
    class Listed:
        x: list

    for bad in (Loose, dict):
        with pytest.raises(TypeError, match="expected a frozen dataclass"):
            tables.fields(bad)
    with pytest.raises(TypeError, match=r"Listed.x: a field cannot be <class 'list'>"):
        tables.fields(Listed)


COLUMNS = {"word": str, "x": float, "n": int, "ok": bool}
FRAME = pd.DataFrame(
    {
        "word": ["NA", "007", 'a "quoted", word', "", "null"],
        "x": [0.1 + 0.2, math.nan, math.inf, -5e-324, 1e22],
        "n": [0, -1, 2**62, 3, 4],
        "ok": [True, False, True, False, True],
    }
)


def test_a_table_comes_back_to_the_last_bit():
    lines = [tables.head(COLUMNS), *tables.to_lines(FRAME, COLUMNS, "t")]
    again = tables.from_lines(lines, COLUMNS, "t")
    pd.testing.assert_frame_equal(again, FRAME, check_dtype=False, check_exact=True)
    assert [again[name].dtype for name in ("x", "n", "ok")] == [float, np.int64, bool]


def test_an_empty_table_keeps_its_columns():
    lines = [tables.head(COLUMNS), *tables.to_lines(FRAME[:0], COLUMNS, "t")]
    assert len(lines) == 1
    again = tables.from_lines(lines, COLUMNS, "t")
    assert list(again) == list(COLUMNS)
    assert len(again) == 0


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (FRAME[["x", "word", "n", "ok"]], "t: got columns"),
        (FRAME.assign(word=["a\nb", "", "", "", ""]), "t: word holds"),
        (FRAME.assign(word=[1, 2, 3, 4, 5]), "t: word holds 1"),
        (FRAME.assign(n=[0.5, 1, 2, 3, 4]), "t: n is float64, expected int"),
    ],
)
def test_a_table_of_other_columns_or_types_is_not_written(frame, message):
    with pytest.raises(ValueError, match=message):
        tables.to_lines(frame, COLUMNS, "t")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["word,x,n", "a,1.0,1"], "t: column ok is missing"),
        (["word,x,n,ok,more", "a,1.0,1,True,1"], "t: unknown column more"),
        (["word,x,n,ok", "a,much,1,True"], "t: x: could not convert string to float"),
        (["word,x,n,ok", "a,1.0,1.5,True"], "t: n: invalid literal"),
        (["word,x,n,ok", "a,1.0,1,yes"], "t: ok holds 'yes'"),
        (["word,x,n,ok", "a,1.0,1,True,5,6"], "t: "),
        ([], "t: "),
    ],
)
def test_a_stored_table_of_another_form_names_the_column(lines, message):
    with pytest.raises(tables.TableError, match=message):
        tables.from_lines(lines, COLUMNS, "t")

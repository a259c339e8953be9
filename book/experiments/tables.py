"""Frozen configurations and typed tables as text that a person can read, and back again.

A configuration is a frozen dataclass. Its fields hold numbers, words, tuples of these, or further
frozen dataclasses of settings; each becomes a column (`settings.learning_rate` for a field within a
field). Tables are CSV files whose columns have declared types, so that "007" and "NA" stay words,
an empty table keeps its columns, and a float comes back to its last bit.
"""

import csv
import dataclasses
import functools
import io
import math
import types
import typing

import numpy as np
import pandas as pd

KINDS = {float: "float64", int: "int64", bool: "bool", str: "object"}
BETWEEN = "; "  # the entries of a tuple


class TableError(ValueError):
    """A stored table is not what the experiment declares; the message names file and column."""


@functools.cache
def fields(config_type):
    """The columns of a configuration: a dict of their names to (type, default).

    config_type : a frozen dataclass
    The type is bool, int, float, str or a pair (tuple, type of the entries), in a triple with None
    where None is allowed; the default is `dataclasses.MISSING` where there is none.
    Raises TypeError, naming the field, for a dataclass that is not frozen and for other types.
    """
    if not (dataclasses.is_dataclass(config_type) and config_type.__dataclass_params__.frozen):
        raise TypeError(f"{config_type!r}: expected a frozen dataclass")
    hints, columns = _hints(config_type), {}
    for field in dataclasses.fields(config_type):
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        plain, optional = _without_none(hints[field.name])
        if dataclasses.is_dataclass(plain):
            for name, (kind, inner) in fields(plain).items():
                value = inner
                if default is None:
                    value = None
                elif default is not dataclasses.MISSING:
                    value = to_row(default)[name]
                columns[f"{field.name}.{name}"] = (_or_none(kind) if optional else kind, value)
            continue
        where = f"{config_type.__qualname__}.{field.name}"
        columns[field.name] = (_kind(plain, optional, where), default)
    return columns


def to_row(config):
    """The values of a configuration by column, as `fields` names them: a dict."""
    row = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        inner, _ = _without_none(_hints(type(config))[field.name])
        if dataclasses.is_dataclass(inner):
            found = dict.fromkeys(fields(inner)) if value is None else to_row(value)
            row |= {f"{field.name}.{name}": part for name, part in found.items()}
        else:
            row[field.name] = value
    return row


def from_row(config_type, row):
    """The configuration whose `to_row` is row, a dict; missing columns take their defaults.

    Raises ValueError, naming the field, where a field without a default is missing and where row
    has a column that the configuration lacks.
    """
    known = fields(config_type)
    unknown = [name for name in row if name not in known]
    if unknown:
        raise ValueError(f"{unknown[0]}: {config_type.__qualname__} has no such field")
    missing = [
        name
        for name, (_, default) in known.items()
        if name not in row and default is dataclasses.MISSING
    ]
    if missing:
        raise ValueError(f"{missing[0]}: {config_type.__qualname__} needs this field")
    return _build(config_type, row, "")


def check(config):
    """ValueError, naming the field, unless every value of a configuration has its declared type."""
    row = to_row(config)
    for name, (kind, _) in fields(type(config)).items():
        _check_value(row[name], kind, f"{type(config).__qualname__}.{name}")


def run_name(config):
    """A readable name of a configuration, made of all that is not at its default.

    Words stand alone, numbers behind the name of their field: CLASSIC-CNNBiLSTM-seed2025. Fields
    without a default always appear. Two configurations of one type have different names, unless
    they differ only in fields whose metadata say `{"named": False}`: those follow from another
    field, such as a method's settings from the method's name, and the store of results refuses a
    second configuration of the same name.
    """
    parts, row = [], to_row(config)
    silent = {
        field.name for field in dataclasses.fields(config) if not field.metadata.get("named", True)
    }
    known = {
        name: kind
        for name, kind in fields(type(config)).items()
        if name.partition(".")[0] not in silent
    }
    endings = [name.rpartition(".")[2] for name in known]
    for name, (_, default) in known.items():
        value, required = row[name], default is dataclasses.MISSING
        if not required and value == default:
            continue
        short = name.rpartition(".")[2]
        short = short if endings.count(short) == 1 else name
        if isinstance(value, str):
            parts.append(_word(value) if required else f"{short}={_word(value)}")
        elif isinstance(value, tuple):
            parts.append(f"{short}=" + "+".join(map(_word, map(_text, value))))
        else:
            parts.append(f"{short}{'' if required else '='}{_word(_text(value) or 'none')}")
    return "-".join(parts) or "default"


def parse(text, kind, where):
    """The value that a cell of a table holds; TableError, naming where, for another kind."""
    kind, optional = _optional(kind)
    if text == "" and optional:
        return None
    if isinstance(kind, tuple):
        return tuple(parse(part, kind[1], where) for part in text.split(BETWEEN)) if text else ()
    if kind is str and text:
        return text
    if kind is bool and text in ("True", "False"):
        return text == "True"
    try:
        if kind is float:
            return float(text) if text else math.nan
        if kind is int:
            return int(text)
    except ValueError:
        pass
    raise TableError(f"{where}: got {text!r}, expected {getattr(kind, '__name__', kind)}")


def show(value):
    """The cell of a table that `parse` turns back into the value."""
    return BETWEEN.join(map(_text, value)) if isinstance(value, tuple) else _text(value)


def to_lines(frame, columns, where):
    """The rows of a DataFrame as lines of CSV, without a head.

    columns : dict of the columns' names, in their order, to float, int, bool or str
    Raises ValueError, naming where and the column, where the frame has other columns or types.
    """
    if list(frame.columns) != list(columns):
        raise ValueError(f"{where}: got columns {list(frame.columns)}, expected {list(columns)}")
    typed = {}
    for name, kind in columns.items():
        values = frame[name]
        if kind is float:
            values = values.astype(float)
        elif kind is str:
            bad = [v for v in values if not isinstance(v, str) or "\n" in v or "\r" in v]
            if bad:
                raise ValueError(f"{where}: {name} holds {bad[0]!r}, expected words on one line")
        elif values.dtype != KINDS[kind]:
            if len(values) and not np.array_equal(values.astype(KINDS[kind]), values):
                raise ValueError(f"{where}: {name} is {values.dtype}, expected {kind.__name__}")
            values = values.astype(KINDS[kind])
        typed[name] = values
    file = io.StringIO()
    pd.DataFrame(typed).to_csv(file, index=False, header=False, lineterminator="\n")
    return file.getvalue().splitlines()


def head(columns):
    """The first line of a CSV file with these columns."""
    file = io.StringIO()
    csv.writer(file, lineterminator="").writerow(columns)
    return file.getvalue()


def from_lines(lines, columns, where):
    """The DataFrame of lines of CSV, the first of them its head; see `to_lines`.

    Raises TableError, naming where and the column, for a missing or unknown column, and for a cell
    that is not of its type.
    """
    try:
        text = pd.read_csv(
            io.StringIO("\n".join(lines)), dtype=str, keep_default_na=False, na_filter=False
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise TableError(f"{where}: {error}") from None
    for name in columns:
        if name not in text:
            raise TableError(f"{where}: column {name} is missing")
    for name in text:
        if name not in columns:
            raise TableError(f"{where}: unknown column {name}")
    return pd.DataFrame({name: _column(text[name], kind, where) for name, kind in columns.items()})


def _column(text, kind, where):
    if kind is str:
        return text.astype(object)
    if kind is bool:
        bad = ~text.isin(["True", "False"])
        if bad.any():
            raise TableError(f"{where}: {text.name} holds {text[bad].iloc[0]!r}, expected a bool")
        return text == "True"
    try:
        if kind is float:
            return pd.Series([float(v) if v else math.nan for v in text], text.index, dtype=float)
        return pd.Series([int(v) for v in text], text.index, dtype="int64")
    except ValueError as error:
        raise TableError(f"{where}: {text.name}: {error}") from None


_hints = functools.cache(typing.get_type_hints)  # which take longer than all else here


def _without_none(hint):
    """A type hint without None, and whether None was in it."""
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        parts = [part for part in typing.get_args(hint) if part is not type(None)]
        if len(parts) == 1:
            return parts[0], True
    return hint, False


def _or_none(kind):
    return kind if _optional(kind)[1] else (None, kind)


def _optional(kind):
    """A kind without the mark that None is allowed, and whether it had that mark."""
    return (kind[1], True) if isinstance(kind, tuple) and kind[0] is None else (kind, False)


def _kind(hint, optional, where):
    kind = hint
    if typing.get_origin(hint) is tuple:
        inner = set(typing.get_args(hint)) - {Ellipsis}
        kind = (tuple, inner.pop()) if len(inner) == 1 else None
    plain = kind[1] if isinstance(kind, tuple) else kind
    if plain not in (bool, int, float, str):
        raise TypeError(f"{where}: a field cannot be {hint!r}")
    return (None, kind) if optional else kind


def _build(config_type, row, prefix):
    hints, values = _hints(config_type), {}
    for field in dataclasses.fields(config_type):
        name = prefix + field.name
        inner, optional = _without_none(hints[field.name])
        if dataclasses.is_dataclass(inner):
            found = {key: value for key, value in row.items() if key.startswith(f"{name}.")}
            if not found:
                continue
            empty = optional and all(value is None for value in found.values())
            values[field.name] = None if empty else _build(inner, row, f"{name}.")
        elif name in row:
            values[field.name] = row[name]
    return config_type(**values)


def _check_value(value, kind, where):
    kind, optional = _optional(kind)
    if value is None and optional:
        return
    if isinstance(kind, tuple):
        if not isinstance(value, tuple):
            raise ValueError(f"{where}: got {value!r}, expected a tuple")
        for part in value:
            _check_value(part, kind[1], where)
        if kind[1] is str and any(BETWEEN in part for part in value):
            raise ValueError(f"{where}: got {value!r}, expected words without {BETWEEN!r}")
        return
    if type(value) is not kind:
        raise ValueError(f"{where}: got {value!r}, expected {kind.__name__}")
    if kind is str and (not value or "\n" in value or "\r" in value):
        raise ValueError(f"{where}: got {value!r}, expected a word or words on one line")
    if kind is float and math.isnan(value):
        raise ValueError(f"{where}: got nan, expected a number")


def _text(value):
    """A number or word as text that turns back into it exactly; None is empty."""
    if value is None:
        return ""
    return repr(value) if isinstance(value, float) else str(value)


def _word(text):
    """Text that can be a part of a file's name: other characters stand as their number."""
    if text.endswith(".0") and text[:-2].lstrip("-").isdigit():
        text = text[:-2]
    text = text.replace(" ", "_")
    return "".join(c if c.isalnum() or c in "_.+=" else f"%{ord(c):x}" for c in text)

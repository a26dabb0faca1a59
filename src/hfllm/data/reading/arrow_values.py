"""Convert the values of Arrow (parquet, the hub) that JSON has not: rows are written as JSON.

Dates and times become their ISO text, decimals numbers (text where a number would be another
value), bytes their UTF-8 text or else base64, maps dicts, arrays lists. What no rule covers, such
as a decoded image, becomes its text.
"""

from __future__ import annotations

import base64
import datetime
import decimal
from typing import Any


def has_odd_values(kind: Any) -> bool:
    """Whether an Arrow type holds, at any depth, values that JSON has not."""
    import pyarrow.types as types

    inner = [kind.field(i).type for i in range(kind.num_fields)]
    if types.is_dictionary(kind):
        inner.append(kind.value_type)
    plain = (
        types.is_null(kind)
        or types.is_boolean(kind)
        or types.is_integer(kind)
        or types.is_float32(kind)
        or types.is_float64(kind)
        or types.is_unicode(kind)
        or types.is_large_unicode(kind)
        or (bool(inner) and not types.is_map(kind))
    )
    return not plain or any(map(has_odd_values, inner))


def as_json_value(value: Any) -> Any:
    """The JSON value of an Arrow value, at any depth."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, dict):
        return {str(key): as_json_value(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        if value and all(isinstance(one, tuple) and len(one) == 2 for one in value):  # a map
            return {str(key): as_json_value(inner) for key, inner in value}
        return [as_json_value(inner) for inner in value]
    if isinstance(value, bytes):
        return _text(value)
    if isinstance(value, decimal.Decimal):
        return _number(value)
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    if hasattr(value, "tolist"):  # numpy
        return as_json_value(value.tolist())
    return str(value)


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return base64.b64encode(value).decode()


def _number(value: decimal.Decimal) -> int | float | str:
    if not value.is_finite():
        return float(value)
    if value == value.to_integral_value():
        return int(value)
    return float(value) if decimal.Decimal(repr(float(value))) == value else str(value)

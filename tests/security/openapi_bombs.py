"""OpenAPI documents that make a careless reader take all memory or time."""

from __future__ import annotations

from typing import Any

SHARED = "#/components/shared"


def operations(count: int = 300, **operation: Any) -> dict[str, Any]:
    return {f"/{number}": {"post": operation} for number in range(count)}


def body_of(reference: str) -> Any:
    return {"content": {"application/json": {"schema": {"$ref": reference}}}}


def bomb(shared: Any, **operation: Any) -> dict[str, Any]:
    return {"paths": operations(**operation), "components": {"shared": shared}}


BOMBS: dict[str, dict[str, Any]] = {
    "a shared enum": bomb(
        {"enum": [f"{number:0>80}" for number in range(10_000)]},
        parameters=[{"name": "q", "in": "query", "schema": {"$ref": SHARED}}],
    ),
    "enums of long numbers": bomb(
        {"q": {"enum": [10**299 + number for number in range(60)]}}
        | {
            f"p{n}": {"name": f"p{n}", "in": "query", "schema": {"$ref": f"{SHARED}/q"}}
            for n in range(60)
        },
        parameters=[{"$ref": f"{SHARED}/p{n}"} for n in range(60)],
    ),
    "an enum of large texts": bomb(
        {"properties": {"a": {"enum": ["x" * 9000] * 90}}}, requestBody=body_of(SHARED)
    ),
    "an enum of objects": bomb(
        {"enum": [{"a": ["x" * 100] * 90}] * 90}, requestBody=body_of(SHARED)
    ),
    "a shared description": bomb(
        {
            "properties": {f"p{n}": {"$ref": f"{SHARED}/d"} for n in range(300)},
            "d": {"description": "x" * 800_000},
        },
        requestBody=body_of(SHARED),
    ),
    "a shared example": bomb(
        {"content": {"application/json": {"example": [{"a": 1}] * 30_000}}},
        requestBody={"$ref": SHARED},
    ),
    "many properties": bomb(
        {
            "properties": {f"p{number}": {} for number in range(25_000)},
            "required": [f"p{number}" for number in range(15_000)],
        },
        requestBody=body_of(SHARED),
    ),
    "long references": bomb({}, requestBody={"$ref": "#/" + "a/" * 1400}),
    "properties that share each other": bomb(
        {
            str(level): {
                "properties": {f"p{n}": {"$ref": f"{SHARED}/{level + 1}"} for n in range(60)}
            }
            for level in range(8)
        },
        requestBody=body_of(f"{SHARED}/0"),
    ),
    "long names": {
        "tags": [{"name": "t" * 9000, "description": "d" * 9000}] * 20,
        "paths": {f"/{number}/{'x' * 90_000}": {"get": {}} for number in range(3)}
        | operations(9, operationId="i" * 9000, summary="s" * 9000, tags=["t" * 9000]),
    },
    "many paths": {"paths": operations(15_000)},
}

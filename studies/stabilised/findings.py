"""The findings of the study of the stabilised attack, written from its numbers."""

from __future__ import annotations

from studies._common.parts import Json


def findings(results: Json) -> str:
    return "x"

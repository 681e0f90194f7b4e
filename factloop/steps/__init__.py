"""The steps of the main job as functions of files: folders and JSONL in, a folder out.

Each takes `config` (JSON values), `inputs` (paths by name), `out` (an empty folder),
`checkpoints` (where training may resume) and `progress`, and returns metrics: numbers, or
estimates as {value, low, high}. A step that makes a model leaves it in `out/model`.
"""

"""What crosses a process boundary: configuration, prompts, jobs, outcomes, log records.

Nothing here imports anything of ours, reads a file or a clock. What people and models write
(configuration, prompt files, model answers) is pydantic; what we write ourselves is a frozen
`msgspec.Struct`.
"""

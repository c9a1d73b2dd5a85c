"""The command line `eapu-hil`.

A command is a function that adds its arguments to a parser and sets what runs it:

    def greet(parser: ArgumentParser) -> None:
        \"\"\"Greet a bench.\"\"\"
        parser.add_argument("bench")
        parser.set_defaults(command=_greet)

    def _greet(args: Namespace, terminal: Terminal) -> dict[str, Any]:
        terminal.say(f"hello, {args.bench}")
        return {"greeted": args.bench}  # what --json prints

The first line of its docstring is the help of the command; `eapu-hil --help` reads it without importing the module.
Packages offer commands as entry points of the group `eapu_hil.commands`.
"""

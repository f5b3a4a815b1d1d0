"""Draws the tracker's state machine from its table: `python docs/tracker.py > docs/tracker.md`; a test holds them equal."""

from rtmelody.core import tracker


def page() -> str:
    """The machine as a Mermaid diagram, and what its words mean."""
    rows = [
        f"    {state.name} --> {following.name}: {signal.name.lower()}{_effects(actions)}"
        for (state, signal), (following, actions) in tracker.TRANSITIONS.items()
        if state is not following or actions
    ]
    diagram = "\n".join(["```mermaid", "stateDiagram-v2", "    [*] --> SILENT", *rows, "```"])
    return f"# The tracker\n\nDrawn from the table in `rtmelody/core/tracker.py` by `docs/tracker.py`.\n\n{diagram}\n"


def _effects(actions: tuple[tracker.Action, ...]) -> str:
    return " / " + ", ".join(action.name.lower() for action in actions) if actions else ""


if __name__ == "__main__":
    print(page(), end="")  # noqa: T201

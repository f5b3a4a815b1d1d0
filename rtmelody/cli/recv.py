"""`rtmelody recv`: what a device in the same room sends."""

import sys
from typing import TYPE_CHECKING, Any

import click

from rtmelody.cli.pair import Address, Paired, listening, meet, sound_options
from rtmelody.errors import PairingError

if TYPE_CHECKING:
    from rtmelody.pair import Conversation


@click.command()
@click.argument("address", type=Address(), default="")
@sound_options
def recv(address: tuple[str, int], as_json: bool, **options: Any) -> None:
    """Wait for a device that runs `rtmelody send`, pair with it, and write what it sends to standard output.

    ADDRESS is HOST:PORT to listen at; default: every interface, port 47600.
    """
    from rtmelody.pairing.melody import Role

    if not sys.stdout:
        raise PairingError("Standard output is closed: what is received would be lost.")

    def talk(paired: Paired, conversation: "Conversation | None") -> None:
        if conversation:
            conversation.receive(_write)
        click.echo(paired.report(as_json), err=True)

    meet(Role.RESPONDER, listening(address), talk, **options)


def _write(payload: bytes) -> None:
    """Hand it on at once: the sender is told that it has arrived."""
    sys.stdout.buffer.write(payload)
    sys.stdout.buffer.flush()

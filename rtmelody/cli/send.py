"""`rtmelody send`: a small secret, a Wi-Fi password say, for a device in the same room."""

import sys
from typing import TYPE_CHECKING, Any

import click

from rtmelody.cli.pair import Address, Paired, calling, meet, require_cryptography, sound_options
from rtmelody.errors import PairingError

if TYPE_CHECKING:
    from rtmelody.pair import Conversation


@click.command()
@click.argument("address", type=Address())
@sound_options
def send(address: tuple[str, int], as_json: bool, **options: Any) -> None:
    """Pair with the device at ADDRESS (HOST or HOST:PORT), which runs `rtmelody recv`, and send it standard input, sealed.

    \b
    rtmelody recv > password                      on the one device
    rtmelody send 192.168.0.7 < password          on the other, in the same room
    """  # noqa: D301 (click wants the character itself)
    require_cryptography()
    from rtmelody.pair import LARGEST_PAYLOAD
    from rtmelody.pairing.melody import Role

    if not sys.stdin:
        raise PairingError("Standard input is closed: give it what is to be sent.")
    payload = sys.stdin.buffer.read(LARGEST_PAYLOAD + 1)
    if len(payload) > LARGEST_PAYLOAD:
        raise PairingError("Standard input holds more than 1 MiB: send an address where the rest can be found.")

    def talk(paired: Paired, conversation: "Conversation | None") -> None:
        if conversation:
            conversation.send(payload)
        click.echo(paired.report(as_json))

    meet(Role.INITIATOR, calling(address), talk, **options)

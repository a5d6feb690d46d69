# SPDX-License-Identifier: Apache-2.0
"""dbus-fast at its lowest level: a message handler and calls, without class and proxy.

Argument: the name to own.
"""

import asyncio
import sys

from dbus_fast import Message, MessageType
from dbus_fast.aio import MessageBus

from benchmarks.peers.states import DOBBY, PATH, STATES, descriptor


async def main() -> None:
    """Serve until killed."""
    bus = await MessageBus().connect()
    tasks: set[asyncio.Task[None]] = set()

    async def forward(call: Message) -> None:
        number = descriptor(call.body[0])
        answer = await bus.call(
            Message(DOBBY[0], DOBBY[1], DOBBY[2], "GetState", signature="i", body=[number])
        )
        await bus.send(
            Message.new_method_return(call, "ss", [call.body[0], STATES[answer.body[0]]])
        )

    def called(message: Message) -> bool | None:
        if message.message_type is not MessageType.METHOD_CALL or message.path != PATH:
            return None
        task = asyncio.get_running_loop().create_task(forward(message))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        return True

    bus.add_message_handler(called)
    await bus.request_name(sys.argv[1])
    await asyncio.Event().wait()


asyncio.run(main())

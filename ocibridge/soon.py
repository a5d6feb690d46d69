"""Once a turn of the loop, however often it is asked for."""

import asyncio
from collections.abc import Callable


class Soon:
    """Calling it has `do` called when the present turn is over: after all that happens in it, before what waits for that."""

    def __init__(self, do: Callable[[], None]) -> None:
        self._do = do
        self._is_due = False

    def __call__(self) -> None:
        """Have it done soon."""
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._run)

    def _run(self) -> None:
        self._is_due = False
        self._do()

"""`python -m tests.matrix` walks every cell of the fault matrix and writes docs/reference/fault-matrix.md anew."""

import asyncio
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import migrations
from tests.matrix.cells import cells
from tests.matrix.page import PAGE, page
from tests.matrix.walk import matrix_scene, walk
from tests.stack.servers import running_servers


async def main(home: Path) -> None:
    """See the module."""
    started = time.monotonic()

    def tell(line: str) -> None:
        print(f"{time.monotonic() - started:4.0f} s  {line}", flush=True)

    with running_servers(home / "servers") as servers:
        migrations.upgrade_all(servers.settings.migration_urls)
        async with matrix_scene(home, servers) as scene:
            fates = await walk(scene, list(cells()), home / "walk", tell)
    PAGE.write_text(page(fates))


if __name__ == "__main__":
    with TemporaryDirectory(prefix="sagapay-matrix-") as folder:
        asyncio.run(main(Path(folder)))

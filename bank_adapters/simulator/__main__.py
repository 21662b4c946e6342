"""`python -m bank_adapters.simulator`: run the simulated bank with the settings of the environment."""

from bank_adapters.simulator.server import run
from infra.settings import settings

run(settings())

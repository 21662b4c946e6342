"""All paths, registered by importing their modules."""

from tests.workflow import (
    paths_bank_accounts,
    paths_bank_trouble,
    paths_cancelled,
    paths_operators,
    paths_parked,
    paths_plain,
    paths_rails,
    paths_rails_cancelled,
    paths_ruled,
    paths_slow_ledger,
)
from tests.workflow.paths import PATHS, run_all

WALKED = (
    paths_plain,
    paths_slow_ledger,
    paths_bank_trouble,
    paths_parked,
    paths_cancelled,
    paths_operators,
    paths_rails,
    paths_rails_cancelled,
    paths_bank_accounts,
    paths_ruled,
)

__all__ = ["PATHS", "WALKED", "run_all"]

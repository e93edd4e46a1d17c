"""Accounts and datasets are told apart, in numbers and in types."""

import re
import subprocess
import sys
from pathlib import Path

import msgspec
from hypothesis import given
from hypothesis import strategies as st

import linkjolt
from linkjolt.datasets import Account, account_of, dataset_of_tests, is_test, live_dataset

ACCOUNTS = st.integers(1, 2**31 - 1).map(Account)
_MIXED = """\
from linkjolt.datasets import Account, Dataset, account_of, dataset_of_tests, live_dataset
from linkjolt.redis_keys import coupon_code, order_digest

account = Account(1)
dataset = live_dataset(account)
coupon_code(account, "SPRING")
order_digest(dataset, "sale", "order_1")
coupon_code(dataset, "SPRING")
order_digest(account, "sale", "order_1")
order_digest(1, "sale", "order_1")
account_of(account)
dataset_of_tests(dataset)
"""


@given(ACCOUNTS)
def test_live_and_test_events_of_an_account_are_apart_and_both_its_own(account: Account) -> None:
    live, tests = live_dataset(account), dataset_of_tests(account)
    assert live != tests
    assert account_of(live) == account_of(tests) == account
    assert (is_test(live), is_test(tests)) == (False, True)


def test_mixing_a_dataset_with_an_account_does_not_type_check(tmp_path: Path) -> None:
    (tmp_path / "mixed.py").write_text(_MIXED)
    config = {"extraPaths": [str(Path(linkjolt.__file__).parents[1])]}
    (tmp_path / "pyrightconfig.json").write_bytes(msgspec.json.encode(config))
    command = [sys.executable, "-m", "pyright", "--project", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wrong = re.findall(r"mixed\.py:(\d+):\d+ - error: Argument of type", done.stdout)
    assert wrong == ["8", "9", "10", "11", "12"]

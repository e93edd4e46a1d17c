"""Tells accounts from datasets: an account's live events are one dataset, its test events another.

Both are numbers, and the wire's and the tables' `account` field carries a dataset's. The types
keep one from being passed for the other.
"""

from typing import NewType

Account = NewType("Account", int)
Dataset = NewType("Dataset", int)

ACCOUNT_DEFAULT = Account(1)
# Owns the accounts; no event and no key is its.
INSTALLATION = Account(0)
# A test dataset has this bit: no report or webhook of live events can include it by mistake.
_TEST = 1 << 31


def live_dataset(account: Account) -> Dataset:
    """The dataset of an account's live events; it has the account's number."""
    return Dataset(account)


def dataset_of_tests(account: Account) -> Dataset:
    """The dataset of the events that an account posts with its test keys."""
    return Dataset(account | _TEST)


def is_test(dataset: Dataset) -> bool:
    """True for a dataset of test events."""
    return dataset >= _TEST


def account_of(dataset: Dataset) -> Account:
    """The account that owns a dataset."""
    return Account(dataset & ~_TEST)

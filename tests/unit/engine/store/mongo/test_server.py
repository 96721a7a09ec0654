"""What is told at start of a MONGO_URI that cannot be used."""

from __future__ import annotations

import mongomock
import pytest

from jobyard.engine.errors import CannotStart
from jobyard.engine.jobs.job import Status
from jobyard.engine.store.mongo.server import OLD_FINISHED_INDEX, MongoServer, bring_forward, prepare
from tests.support.builders import a_job
from tests.support.mongo import open_mock, settings_for
from tests.support.world import START


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("mongodb://u:s3cret@127.0.0.1:1/?socketTimeoutMS=soon", "sockettimeoutms must be an integer or float"),
        ("mongodb://u:s3cret@127.0.0.1:1/?patience=5", "Unknown option"),
        ("mongodb://u:s3/cret@127.0.0.1:1/", "percent-encoded"),
        ("mongo://127.0.0.1:1/", "an address looks like mongodb://"),
    ],
)
def test_an_address_or_an_option_that_cannot_be_used_is_told_without_its_secrets(uri: str, told: str) -> None:
    with pytest.raises(CannotStart) as refused:
        prepare(settings_for(uri, "jobs"))

    assert told in refused.value.message
    assert "s3" not in refused.value.message


def test_failures_of_the_version_before_are_grouped_like_new_ones() -> None:
    client = mongomock.MongoClient()
    server, store = MongoServer(client, "jobs"), open_mock(client)
    store.insert([[a_job(status=Status.FAILED, error=f"no {number}", finished_at=START)] for number in range(3)])
    server.jobs.update_many({}, {"$unset": {"error_kind": ""}})
    server.jobs.create_index("finished_at", name=OLD_FINISHED_INDEX)

    for _ in range(2):
        bring_forward(server)

    assert [(one.error_kind, one.count) for one in store.reports.failures()] == [("no", 3)]
    assert OLD_FINISHED_INDEX not in server.jobs.index_information()

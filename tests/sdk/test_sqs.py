"""SQS through unmodified boto3 and the AWS CLI: a queue with several receivers, a long poll, a topic that delivers to a queue."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.sdk.conftest import ROOT, Server

pytestmark = pytest.mark.live
CLI = ROOT / ".venv-cli" / "bin" / "aws"


@pytest.fixture(scope="module")
def sqs(server: Server) -> Any:
    return server.client("sqs")


def test_every_message_is_received_once_by_one_of_many(server: Server, sqs: Any) -> None:
    url = sqs.create_queue(QueueName="many")["QueueUrl"]
    for start in range(0, 100, 10):
        entries = [{"Id": str(n), "MessageBody": str(start + n)} for n in range(10)]
        assert len(sqs.send_message_batch(QueueUrl=url, Entries=entries)["Successful"]) == 10
    got: list[str] = []

    def receive(client: Any) -> None:
        while found := client.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            for message in found:
                got.append(message["Body"])
                client.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])

    threads = [threading.Thread(target=receive, args=(server.client("sqs"),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(got, key=int) == [str(n) for n in range(100)]


def test_a_long_poll_is_answered_when_a_message_comes_or_comes_back(server: Server, sqs: Any) -> None:
    url = sqs.create_queue(QueueName="poll", Attributes={"ReceiveMessageWaitTimeSeconds": "20"})["QueueUrl"]
    threading.Timer(0.5, lambda: server.client("sqs").send_message(QueueUrl=url, MessageBody="news")).start()
    began = time.monotonic()
    [message] = sqs.receive_message(QueueUrl=url, VisibilityTimeout=1)["Messages"]
    assert message["Body"] == "news"
    [again] = sqs.receive_message(QueueUrl=url)["Messages"]
    assert again["MessageId"] == message["MessageId"]
    assert time.monotonic() - began < 15


def test_errors_have_the_names_that_clients_catch(sqs: Any) -> None:
    with pytest.raises(sqs.exceptions.QueueDoesNotExist) as caught:
        sqs.get_queue_url(QueueName="none")
    assert caught.value.response["Error"]["Code"] == "AWS.SimpleQueueService.NonExistentQueue"
    url = sqs.create_queue(QueueName="errors")["QueueUrl"]
    with pytest.raises(sqs.exceptions.ReceiptHandleIsInvalid):
        sqs.delete_message(QueueUrl=url, ReceiptHandle="guessed")
    with pytest.raises(ClientError, match="shorter than 1048576 bytes"):
        sqs.send_message(QueueUrl=url, MessageBody="x" * ((1 << 20) + 1))


def test_a_topic_delivers_to_a_queue(server: Server, sqs: Any) -> None:
    url = sqs.create_queue(QueueName="subscriber")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns = server.client("sns")
    topic = sns.create_topic(Name="to-queue")["TopicArn"]
    with pytest.raises(ClientError, match="does not exist"):
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=f"{arn}-not")
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    sns.publish(TopicArn=topic, Message="hello", Subject="s")
    [message] = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20)["Messages"]
    body = json.loads(message["Body"])
    assert (body["Type"], body["Message"], body["TopicArn"]) == ("Notification", "hello", topic)


def test_the_cli(server: Server) -> None:
    def aws(*words: str) -> Any:
        # the CLI of version 1 takes no AWS_ENDPOINT_URL for sqs: it sets a host of its own unless it is told one
        done = server.run([str(CLI), "--endpoint-url", server.settings.endpoint, "sqs", *words, "--output", "json"])
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout or "null")

    url = aws("create-queue", "--queue-name", "cli.fifo", "--attributes", "FifoQueue=true")["QueueUrl"]
    words = ("--queue-url", url, "--message-body", "m", "--message-group-id", "g", "--message-deduplication-id", "d")
    assert aws("send-message", *words)["MessageId"] == aws("send-message", *words)["MessageId"]
    [message] = aws("receive-message", "--queue-url", url, "--attribute-names", "All")["Messages"]
    assert message["Attributes"]["MessageGroupId"] == "g"

"""`@remote` and `RemoteExecutor` of SDK v2: a function of this very program runs as a training job, its result or exception comes back."""

import pathlib

import common
from sagemaker.remote_function import RemoteExecutor, remote

IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-base-python-310:1.0"
session = common.session_v2()
settings = {
    "image_uri": IMAGE,
    "role": common.ROLE,
    "instance_type": common.CPU,
    "sagemaker_session": session,
    "s3_root_uri": f"s3://{common.bucket()}/remote",
}
FACTOR = 3
wanted = pathlib.Path(common.folder({"requirements.txt": "cowsay==6.1\n"})) / "requirements.txt"


@remote(
    **settings,
    dependencies=str(wanted),
    environment_variables={"COLOUR": "red"},
    pre_execution_commands=["echo before"],
)
def scaled(values, *, offset=0):
    import os

    import cowsay
    import numpy as np

    print("in the job")
    assert "cow" in cowsay.char_names
    return np.asarray(values) * FACTOR + offset, os.environ["COLOUR"]


def wrong(value):
    raise KeyError(f"no {value} here")


numbers, colour = scaled([1, 2], offset=1)
assert (numbers.tolist(), colour) == ([4, 7], "red")
with RemoteExecutor(**settings, max_parallel_jobs=2) as executor:
    fails = executor.submit(wrong, "milk")
    one = executor.submit(divmod, 7, 2)
    assert one.result() == (3, 1)
    try:
        fails.result()
        came = ""
    except KeyError as error:
        came = str(error)
assert "no milk here" in came
assert one.done()
print("OK")

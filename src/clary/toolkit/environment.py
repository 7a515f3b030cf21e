"""What a training container learns of its job: the files of `input/config`, turned into values and the SM_* variables.

Owns the decoding of hyperparameters, the script's arguments and the whole `SM_*` environment, as the open SageMaker training
toolkit defines them (its `environment.py`, `mapping.py`; AWS "SageMaker Training Toolkit: environment variables"). Refuses to
start anything. Reads only what stands under the base folder (`/opt/ml`), and the process's own environment, given as a mapping.
Imports little: every training job waits for it.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
from typing import Any, Dict, List, Mapping, NamedTuple, Optional

# Of the hyperparameters that begin with `sagemaker_`, these steer the toolkit; the others are framework parameters.
TOOLKIT_KEYS = frozenset(
    {
        "sagemaker_program",
        "sagemaker_submit_directory",
        "sagemaker_enable_cloudwatch_metrics",
        "sagemaker_container_log_level",
        "sagemaker_job_name",
        "sagemaker_region",
        "sagemaker_s3_output",
        "default_user_module_name",
        "_tuning_objective_metric",
    }
)


class TrainingEnvironment(NamedTuple):
    """One host's view of a training job. Paths are absolute; `hyperparameters` are the user's own, decoded."""

    base: str
    hyperparameters: Mapping[str, Any]
    toolkit: Mapping[str, Any]  # the sagemaker_* ones that steer the toolkit
    framework: Mapping[str, Any]  # the other sagemaker_* ones
    resources: Mapping[str, Any]
    channels: Mapping[str, Mapping[str, Any]]  # inputdataconfig.json
    cpus: int = 1
    gpus: int = 0
    job_name: str = ""
    region: str = ""
    raw: Mapping[str, str] = {}  # hyperparameters.json as it stands

    @property
    def hosts(self) -> List[str]:
        return list(self.resources.get("hosts") or [self.host])

    @property
    def host(self) -> str:
        return str(self.resources.get("current_host") or "algo-1")

    @property
    def program(self) -> str:
        """The user's script as given (`sagemaker_program`), '' for a built-in algorithm."""
        return str(self.toolkit.get("sagemaker_program") or "")

    @property
    def code_dir(self) -> str:
        return os.path.join(self.base, "code")

    @property
    def model_dir(self) -> str:
        return os.path.join(self.base, "model")

    @property
    def output_dir(self) -> str:
        return os.path.join(self.base, "output")

    def channel_path(self, name: str) -> str:
        return os.path.join(self.base, "input", "data", name)


def load(environ: Mapping[str, str]) -> TrainingEnvironment:
    """Read the configuration files; files that are absent count as empty. ValueError for one that is not JSON."""
    base = environ.get("SAGEMAKER_BASE_DIR") or "/opt/ml"
    raw = _read_json(os.path.join(base, "input", "config", "hyperparameters.json"))
    resources = _read_json(os.path.join(base, "input", "config", "resourceconfig.json"))
    channels = _read_json(os.path.join(base, "input", "config", "inputdataconfig.json"))
    decoded = {key: decode(value) for key, value in raw.items()}
    toolkit = {k: v for k, v in decoded.items() if k in TOOLKIT_KEYS}
    if "SAGEMAKER_PROGRAM" in environ:
        toolkit.setdefault("sagemaker_program", environ["SAGEMAKER_PROGRAM"])
    framework = {k: v for k, v in decoded.items() if k.startswith("sagemaker_") and k not in TOOLKIT_KEYS}
    return TrainingEnvironment(
        base=base,
        hyperparameters={k: v for k, v in decoded.items() if k not in toolkit and k not in framework},
        toolkit=toolkit,
        framework=framework,
        resources=resources,
        channels=channels,
        cpus=cpu_count(environ),
        gpus=gpu_count(environ),
        job_name=str(toolkit.get("sagemaker_job_name") or environ.get("TRAINING_JOB_NAME") or ""),
        region=str(toolkit.get("sagemaker_region") or environ.get("AWS_REGION") or ""),
        raw={k: str(v) for k, v in raw.items()},
    )


def decode(value: Any) -> Any:
    """SDK v2 JSON-encodes each value in script mode, other clients send plain text: JSON, else the text itself."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def arguments(hyperparameters: Mapping[str, Any], script: str = "") -> List[str]:
    """`--key value` for each, sorted by key; a map becomes `a=b,c=d`. A name of one letter becomes `-k`, as AWS's toolkit has it,
    unless the script's text declares only `--k`, which with `-k` could not run."""
    out: List[str] = []
    for key in sorted(hyperparameters):
        value = hyperparameters[key]
        short = len(key) == 1 and (not _declares(script, "--" + key) or _declares(script, "-" + key))
        out.append(("-{}" if short else "--{}").format(key))
        if isinstance(value, dict):
            out.append(",".join("{}={}".format(k, value[k]) for k in sorted(value)))
        else:
            out.append("" if value is None else str(value))
    return out


def user_arguments(env: TrainingEnvironment) -> List[str]:
    """What the user's script is called with."""
    script = ""
    if any(len(key) == 1 for key in env.hyperparameters):
        try:
            with open(os.path.join(env.code_dir, env.program), encoding="utf-8", errors="replace") as file:
                script = file.read(1 << 20)
        except OSError:
            pass  # a module of a package, or missing, which is said later
    return arguments(env.hyperparameters, script)


def _declares(script: str, option: str) -> bool:
    return any(quote + option + quote in script for quote in ("'", '"'))


def variables(env: TrainingEnvironment) -> Dict[str, str]:
    """Every variable that the toolkit sets for the user's script."""
    values: Dict[str, Any] = dict(_settings(env))
    values["training_env"] = _training_env(env, values)
    for name in env.channels:
        values["channel_" + name] = env.channel_path(name)
    for key, value in env.hyperparameters.items():
        values["hp_" + key] = value
    named = {"SM_" + name.upper(): _text(value) for name, value in values.items()}
    named.update(
        {
            "CURRENT_HOST": env.host,
            "PYTHONUNBUFFERED": "1",
            "SAGEMAKER_JOB_NAME": env.job_name,
            "SAGEMAKER_REGION": env.region,
        }
    )
    return named


def _settings(env: TrainingEnvironment) -> Dict[str, Any]:
    resources = env.resources
    groups: List[Mapping[str, Any]] = list(resources.get("instance_groups") or [])
    group = resources.get("current_group_name") or "homogeneousCluster"
    own = next((g for g in groups if g.get("instance_group_name") == group), None)
    settings: Dict[str, Any] = {
        "hosts": env.hosts,
        "current_host": env.host,
        "current_instance_type": resources.get("current_instance_type") or "",
        "current_instance_group": group,
        "current_instance_group_hosts": list(own.get("hosts") or []) if own else env.hosts,
        "instance_groups": [g.get("instance_group_name") for g in groups],
        "instance_groups_dict": {str(g.get("instance_group_name")): dict(g) for g in groups},
        "distribution_instance_groups": env.framework.get("sagemaker_distribution_instance_groups") or [],
        "is_hetero": len(groups) > 1,
        "network_interface_name": resources.get("network_interface_name") or "eth0",
        "hps": dict(env.hyperparameters),
        "user_entry_point": env.program,
        "framework_params": dict(env.framework),
        "resource_config": dict(resources),
        "input_data_config": {k: dict(v) for k, v in env.channels.items()},
        "output_data_dir": os.path.join(env.output_dir, "data"),
        "channels": sorted(env.channels),
        "module_name": module_name(env.program),
        "log_level": env.toolkit.get("sagemaker_container_log_level") or 20,
        "framework_module": "",
        "input_dir": os.path.join(env.base, "input"),
        "input_config_dir": os.path.join(env.base, "input", "config"),
        "output_dir": env.output_dir,
        "output_intermediate_dir": os.path.join(env.output_dir, "intermediate"),
        "num_cpus": env.cpus,
        "num_gpus": env.gpus,
        "num_neurons": 0,
        "model_dir": env.model_dir,
        "module_dir": env.toolkit.get("sagemaker_submit_directory") or env.code_dir,
        "user_args": user_arguments(env),
    }
    if resources.get("topology"):
        settings["topology"] = resources["topology"]
    return settings


def _training_env(env: TrainingEnvironment, settings: Mapping[str, Any]) -> Dict[str, Any]:
    names = (
        "current_host current_instance_group current_instance_group_hosts current_instance_type distribution_instance_groups "
        "framework_module hosts input_config_dir input_data_config input_dir instance_groups instance_groups_dict is_hetero "
        "log_level model_dir module_dir module_name network_interface_name num_cpus num_gpus num_neurons output_data_dir "
        "output_dir output_intermediate_dir resource_config user_entry_point"
    ).split()
    master = env.hosts[0]
    return {
        **{name: settings[name] for name in names},
        "additional_framework_parameters": dict(env.framework),
        "channel_input_dirs": {name: env.channel_path(name) for name in env.channels},
        "hyperparameters": dict(env.hyperparameters),
        "is_master": env.host == master,
        "job_name": env.job_name,
        "master_hostname": master,
    }


def module_name(program: str) -> str:
    return program[:-3] if program.endswith(".py") else program


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def cpu_count(environ: Mapping[str, str]) -> int:
    """The CPUs this sandbox may use: `CLARY_CPUS` (vCPU, from the planner) or the process's affinity."""
    given = environ.get("CLARY_CPUS")
    here = len(os.sched_getaffinity(0))
    try:
        return max(1, min(here, math.ceil(float(given)))) if given else here
    except ValueError:
        return here


def memory(environ: Mapping[str, str]) -> int:
    """The bytes that this sandbox may use: `CLARY_MEMORY`, from the planner. 1 GiB where it is not told."""
    given = environ.get("CLARY_MEMORY", "")
    return int(given) if given.isdecimal() and int(given) else 1 << 30


def gpu_count(environ: Mapping[str, str]) -> int:
    """GPUs that CUDA is told of by `CUDA_VISIBLE_DEVICES`, which the sandbox sets to those that the job was given and the user may
    narrow; where it is not set, as `nvidia-smi` lists them, and none without it."""
    told = environ.get("CUDA_VISIBLE_DEVICES")
    if told is not None:
        return _visible(told)
    places = (os.path.join(folder, "nvidia-smi") for folder in os.get_exec_path(environ))
    path = next((place for place in places if os.access(place, os.X_OK)), None)
    if path is None:
        return 0
    try:
        done = subprocess.run([path, "--list-gpus"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return sum(1 for line in done.stdout.splitlines() if line.startswith(b"GPU "))


def _visible(told: str) -> int:
    """Devices of such a list, which ends at the first that cannot be: CUDA's rule, by which `-1` hides all."""
    names = [name.strip() for name in told.split(",")]
    return next((at for at, name in enumerate(names) if not name or name.startswith("-")), len(names))


def _read_json(path: str) -> Dict[str, Any]:
    content: Optional[Any] = None
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ValueError("{} is not JSON: {}".format(path, error)) from None
    if not isinstance(content, dict):
        raise ValueError("{} is not a JSON object".format(path))
    return content

"""`EchoGRPOConfig`: the paper's defaults, validation that names the field, YAML and the command line."""

import inspect
from dataclasses import fields
from typing import get_type_hints

import pytest
from trl import GRPOConfig, GRPOTrainer, TrlParser

from echorl import EchoConfig
from echorl.methods import SET_BY_METHODS
from echorl.trl import EchoGRPOConfig
from echorl.trl.config import CHOICES
from tests.trl.tiny import settings


def test_the_defaults_are_those_of_echo_config(tmp_path):
    config = settings(tmp_path, max_completion_length=77)
    assert config.echo_config() == EchoConfig(max_completion_length=77)


@pytest.mark.parametrize("option", [each for each in fields(EchoConfig) if each.name != "max_completion_length"])
def test_an_option_of_echo_config_has_its_flat_field(option):
    """Of the same type, default and help; None where a method may set it, since only so a written default is seen."""
    name, flat = f"echo_{option.name}", {each.name: each for each in fields(EchoGRPOConfig)}
    hint, flat_hint = get_type_hints(EchoConfig)[option.name], get_type_hints(EchoGRPOConfig)[name]
    if name in SET_BY_METHODS:
        assert (flat_hint, flat[name].default) == (hint | None, None)
        advice = f"{option.metadata['help']} Not written: the method's value, or {option.default!r}."
        assert flat[name].metadata == {"help": advice}
    else:
        assert (flat_hint, flat[name].default) == (hint, option.default)
        assert flat[name].metadata == {"help": option.metadata["help"]}


def test_no_flat_field_is_without_an_option_or_a_help():
    flat = {each.name: each for each in fields(EchoGRPOConfig) if each.name.startswith("echo_")}
    ours = {"success_reward_func", "rollouts_every", "entropy_from"}
    assert flat.keys() == {f"echo_{name}" for name in ours | {each.name for each in fields(EchoConfig)}} - {
        "echo_max_completion_length"
    }
    assert all(each.metadata["help"] for each in flat.values())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(echo_coef=-1.0), r"echo_coef=-1\.0 is not allowed"),
        (dict(echo_coef=float("nan")), r"echo_coef=nan is not allowed"),
        (dict(echo_scope="all"), r"echo_scope='all' is not allowed: it must be one of 'verified', 'degenerate'"),
        (dict(echo_top_k=0), r"echo_top_k=0"),
        (dict(echo_rollouts_every=-1), r"echo_rollouts_every=-1"),
        (
            dict(echo_entropy_from="tokens"),
            r"echo_entropy_from='tokens' is not allowed: it must be one of 'logits', 'top_logprobs', 'surprisal'\.",
        ),
        (dict(loss_type="zzz"), r"loss_type='zzz' is not allowed: it must be one of 'grpo', 'dr_grpo', 'dapo', "),
        (dict(method="agpo", method_options={"scale_rewards": "all"}), r"scale_rewards='all' is not allowed"),
        (dict(vllm_importance_sampling_mode="mask"), r"vllm_importance_sampling_mode='mask' is not allowed"),
        (dict(num_generations=1), r"at least 2"),
    ],
)
def test_wrong_values_are_named(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        settings(tmp_path, **changes)


@pytest.mark.parametrize("name", sorted(CHOICES.keys() - {"echo_entropy_from"}))
def test_the_choices_are_those_of_trl(name):
    source = "".join(inspect.getsource(inspect.getmodule(part)) for part in (GRPOTrainer, GRPOConfig))
    assert [value for value in CHOICES[name] if f'"{value}"' not in source] == []
    assert GRPOConfig.__dataclass_fields__[name].default in CHOICES[name]


def test_a_value_that_a_newer_trl_names_in_its_help_is_allowed(tmp_path, monkeypatch):
    monkeypatch.setitem(CHOICES, "loss_type", ("grpo",))
    assert settings(tmp_path, loss_type="vespo").loss_type == "vespo"


def test_a_cpu_without_bf16_gets_a_hint(tmp_path, monkeypatch):
    monkeypatch.setattr("transformers.training_args.is_torch_bf16_gpu_available", lambda: False)
    with pytest.raises(ValueError, match=r"doesn't support bf16/gpu.* On a CPU: use_cpu=True, bf16=False"):
        EchoGRPOConfig(str(tmp_path), bf16=True, use_cpu=False)


def test_yaml_and_command_line(tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "output_dir: out\necho_coef: 0.01\necho_success_reward_func: [accuracy, exact]\nuse_cpu: true\nbf16: false\n"
    )
    (config,) = TrlParser(EchoGRPOConfig).parse_args_and_config(["--config", str(recipe), "--echo_select", "random"])
    assert (config.echo_coef, config.echo_select) == (0.01, "random")
    assert config.success_reward_func_names() == ["accuracy", "exact"]


def test_an_unknown_key_is_named(tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("output_dir: out\nuse_cpu: true\nbf16: false\necho_coeff: 0.01\n")
    with pytest.raises(ValueError, match="'--echo_coeff'") as refused:
        TrlParser(EchoGRPOConfig).parse_args_and_config(["--config", str(recipe)])
    assert "\n" not in str(refused.value)
    with pytest.raises(TypeError, match="unexpected keyword argument 'echo_coeff'"):
        settings(tmp_path, echo_coeff=0.01)


def test_names_can_be_given_as_one_string(tmp_path):
    assert settings(tmp_path, echo_success_reward_func="a, b").success_reward_func_names() == ["a", "b"]


@pytest.mark.parametrize(
    ("method", "name", "own", "written"),
    [
        ("grpo", "loss_type", "grpo", "dapo"),
        ("grpo", "loss_type", "grpo", "bnpo"),
        ("dr_grpo", "scale_rewards", "none", "group"),
        ("gspo", "epsilon", 3e-4, 0.2),
        ("gspo", "importance_sampling_level", "sequence", "token"),
        ("uft", "beta", 0.001, 0.0),
        ("uft", "use_bias_correction_kl", False, True),
        ("uft", "entropy_coef", 0.001, 0.0),
        ("top_entropy", "top_entropy_quantile", 0.2, 1.0),
        ("positive_nll", "echo_coef", 0.1, 0.001),
        ("positive_nll", "echo_select", "full", "max_entropy"),
    ],
)
def test_what_is_written_wins_over_the_method_also_where_it_is_trls_default(tmp_path, method, name, own, written):
    assert getattr(settings(tmp_path, method=method), name) == own
    assert getattr(settings(tmp_path, method=method, **{name: written}), name) == written
    assert getattr(settings(tmp_path, method=method, method_options={name: written}), name) == written


def test_what_is_written_on_a_command_line_wins_too(tmp_path):
    words = ["--output_dir", str(tmp_path), "--use_cpu", "true", "--bf16", "false", "--method", "uft"]
    parser = TrlParser(EchoGRPOConfig)
    (config,) = parser.parse_args_and_config([*words, "--beta", "0.0", "--use_bias_correction_kl", "true"])
    assert (config.beta, config.use_bias_correction_kl, config.entropy_coef) == (0.0, True, 0.001)


def test_two_different_values_are_refused(tmp_path):
    with pytest.raises(
        ValueError, match=r"loss_type='grpo' and method_options=\{'loss_type': 'dapo'\} differ: keep one"
    ):
        settings(tmp_path, method="grpo", loss_type="grpo", method_options={"loss_type": "dapo"})


def test_every_field_that_a_method_sets_tells_written_from_left_out(tmp_path):
    """And has TRL's, or EchoRL's, default where no method sets it."""
    declared = {option.name: option for option in fields(EchoGRPOConfig)}
    config, echo, plain = settings(tmp_path), EchoConfig(), settings(tmp_path, echo=False)
    for name in SET_BY_METHODS:
        assert declared[name].default is None
        default = getattr(echo, name.removeprefix("echo_")) if name.startswith("echo_") else getattr(plain, name)
        assert getattr(config, name) == default


def test_fields_are_flat_scalars(tmp_path):
    for option in fields(EchoGRPOConfig):
        if option.name.startswith("echo_"):
            assert "EchoConfig" not in str(option.type)
            assert isinstance(getattr(settings(tmp_path), option.name), (str, int, float, type(None)))

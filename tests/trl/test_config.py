"""`EchoGRPOConfig`: the paper's defaults, validation that names the field, YAML and the command line."""

from dataclasses import fields

import pytest
from trl import TrlParser

from echorl import EchoConfig
from echorl.trl import EchoGRPOConfig
from tests.trl.tiny import settings


def test_every_option_of_echo_config_has_its_field_and_default(tmp_path):
    config = settings(tmp_path, max_completion_length=77)
    assert config.echo_config() == EchoConfig(max_completion_length=77)
    for option in fields(EchoConfig):
        assert option.name == "max_completion_length" or hasattr(config, f"echo_{option.name}")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(echo_coef=-1.0), r"echo_coef=-1\.0 is not allowed"),
        (dict(echo_coef=float("nan")), r"echo_coef=nan is not allowed"),
        (dict(echo_scope="all"), r"echo_scope='all' is not allowed: it must be one of 'verified', 'degenerate'"),
        (dict(echo_top_k=0), r"echo_top_k=0"),
        (dict(echo_rollouts_every=-1), r"echo_rollouts_every=-1"),
        (dict(echo_clips_logged=-1), r"echo_clips_logged=-1"),
        (
            dict(echo_entropy_from="tokens"),
            r"echo_entropy_from='tokens' is not allowed: it must be one of 'logits', 'surprisal'\.",
        ),
        (dict(num_generations=1), r"at least 2"),
    ],
)
def test_wrong_values_are_named(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        settings(tmp_path, **changes)


def test_yaml_and_command_line(tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "output_dir: out\necho_coef: 0.01\necho_success_reward_func: [accuracy, exact]\nuse_cpu: true\nbf16: false\n"
    )
    (config,) = TrlParser(EchoGRPOConfig).parse_args_and_config(["--config", str(recipe), "--echo_select", "random"])
    assert (config.echo_coef, config.echo_select) == (0.01, "random")
    assert config.success_reward_func_names() == ["accuracy", "exact"]


def test_names_can_be_given_as_one_string(tmp_path):
    assert settings(tmp_path, echo_success_reward_func="a, b").success_reward_func_names() == ["a", "b"]


def test_fields_are_flat_scalars(tmp_path):
    for option in fields(EchoGRPOConfig):
        if option.name.startswith("echo_"):
            assert "EchoConfig" not in str(option.type)
            assert isinstance(getattr(settings(tmp_path), option.name), (str, int, float, type(None)))

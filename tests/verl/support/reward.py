"""The tests' reward: echorl's verifier is asked in verl's reward worker, but a random model needs help."""

from echorl.verl.reward import compute_score as verify


def compute_score(data_source, solution_str, ground_truth, extra_info=None, **kwargs):
    """Even prompts are always right, odd ones if the response begins with a letter. Shaped: 0.9 where right."""
    verified = verify(data_source, solution_str, ground_truth, extra_info)["acc"]
    right = verified == 1.0 or extra_info["index"] % 2 == 0 or solution_str[:1].isalpha()
    return {"score": 0.9 * right, "acc": float(right), "verified": verified}

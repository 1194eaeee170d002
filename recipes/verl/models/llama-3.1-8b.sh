# The base model, which has no chat template: this one writes the question as plain text and leaves the system message out.
# Deviation: its wording is ours; the script has none for Llama.
template="{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}"
template+="{{ 'Question: ' + message['content'] + '\n' }}{% endif %}{% endfor %}"
template+="{{ 'Reason step by step, one step a line, and put the final answer in \\\\boxed{}.\nAnswer: ' }}"
args+=(
    actor_rollout_ref.model.path=meta-llama/Llama-3.1-8B
    "actor_rollout_ref.model.custom_chat_template=\"$template\""
)

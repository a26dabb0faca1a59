"""Our chat template: `<|bos|>`, then per message ROLE_TOKEN content `<|end|>`.

    <|bos|><|system|>Be brief.<|end|><|user|>Who is Ada?<|end|><|assistant|>A baker.<|end|>

Each role is a special token, because the words "assistant" and "user" take four tokens in a small
vocabulary. There is no newline between the parts, because BPE could merge it with the content. The
`{% generation %}` markers enclose the answer and its end-of-turn token: the trained tokens. The
generation prompt is `<|assistant|>`.
"""

PAD, BOS, EOS = "<|pad|>", "<|bos|>", "<|eos|>"
SYSTEM, USER, ASSISTANT, END = "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"

# In the order of their ids, 0..6. EOS ends a document, END ends a turn.
SPECIAL_TOKENS = (PAD, BOS, EOS, SYSTEM, USER, ASSISTANT, END)

CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}"
    "<|assistant|>"
    "{% generation %}{{ message['content'] }}<|end|>{% endgeneration %}"
    "{% elif message['role'] == 'user' or message['role'] == 'system' %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}"
    "{% else %}"
    "{{ raise_exception('role ' + message['role'] + ' is none of system, user, assistant') }}"
    "{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)

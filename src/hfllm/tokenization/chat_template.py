"""Our chat template: `<|bos|>`, then per message ROLE_TOKEN content `<|end|>`.

    <|bos|><|system|>Be brief.<|end|><|user|>Who is Ada?<|end|><|assistant|>A baker.<|end|>

A role is one token of its own because the words "assistant" and "user" cost four tokens in a small
vocabulary, and there is no newline between parts because every literal character is one more thing
that a tokenizer can merge with the content. The `{% generation %}` markers hold the answer and its
end of turn: that is what is trained. The generation prompt is `<|assistant|>`.
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

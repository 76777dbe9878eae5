/* What the simulated model says in the three dialects that andiron carries, as upstream.mjs has it:
 * { headers, pieces }, the pieces of a stream being its events, the last one the terminal event. */
import { answerTo, chatAnswer, chatStream, deltasTo, json } from '../upstream.mjs';

/* An event with a name, for the dialects that name theirs by the type. */
export const named = (value) =>
  Buffer.from(`event: ${value.type}\ndata: ${JSON.stringify(value)}\n\n`);
const stream = (events) =>
  ({ headers: { 'content-type': 'text/event-stream' }, pieces: events.map(named) });

const usage = { input_tokens: 8, output_tokens: 6, total_tokens: 14 };

function messagesAnswer(model, prompt) {
  return json({
    id: 'msg_1', type: 'message', role: 'assistant', model,
    content: [{ type: 'text', text: answerTo(prompt) }],
    stop_reason: 'end_turn', stop_sequence: null, usage,
  });
}

function messagesStream(model, prompt) {
  const message = {
    id: 'msg_1', type: 'message', role: 'assistant', model,
    content: [], stop_reason: null, stop_sequence: null, usage,
  };
  return stream([
    { type: 'message_start', message },
    { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } },
    ...deltasTo(prompt).map((text) =>
      ({ type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text } })),
    { type: 'content_block_stop', index: 0 },
    { type: 'message_delta', delta: { stop_reason: 'end_turn', stop_sequence: null }, usage },
    { type: 'message_stop' },
  ]);
}

const part = (text) => ({ type: 'output_text', text, annotations: [] });
const item = (status, content) =>
  ({ type: 'message', id: 'msg_1', role: 'assistant', status, content });
const response = (model, status, output) => ({
  id: 'resp_1', object: 'response', created_at: 1, model, status, output, usage,
  error: null, incomplete_details: null, parallel_tool_calls: true, tool_choice: 'auto', tools: [],
});

function responsesAnswer(model, prompt) {
  const text = answerTo(prompt);
  return json(response(model, 'completed', [item('completed', [part(text)])]));
}

function responsesStream(model, prompt) {
  const text = answerTo(prompt);
  const done = item('completed', [part(text)]);
  const place = { item_id: 'msg_1', output_index: 0, content_index: 0 };
  return stream([
    { type: 'response.created', response: response(model, 'in_progress', []) },
    { type: 'response.output_item.added', output_index: 0, item: item('in_progress', []) },
    { type: 'response.content_part.added', ...place, part: part('') },
    ...deltasTo(prompt).map((delta) => ({ type: 'response.output_text.delta', ...place, delta })),
    { type: 'response.output_text.done', ...place, text },
    { type: 'response.content_part.done', ...place, part: part(text) },
    { type: 'response.output_item.done', output_index: 0, item: done },
    { type: 'response.completed', response: response(model, 'completed', [done]) },
  ].map((event, sequence_number) => ({ ...event, sequence_number })));
}

/* By the path of the request and by whether it asks for a stream. */
export const DIALECTS = {
  '/inference/v1/chat/completions': { plain: chatAnswer, stream: chatStream },
  '/inference/v1/messages': { plain: messagesAnswer, stream: messagesStream },
  '/inference/v1/responses': { plain: responsesAnswer, stream: responsesStream },
};

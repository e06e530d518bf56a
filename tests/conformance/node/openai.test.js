// The `openai` package for Node works with nothing changed but the base URL and the key.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import OpenAI, { AuthenticationError, BadRequestError, NotFoundError } from 'openai';
import { zodFunction, zodResponseFormat } from 'openai/helpers/zod';
import { z } from 'zod';

const { CLIENT_BASE_URL: baseURL, CLIENT_KEY: apiKey, CLIENT_MODEL: model, CLIENT_LOCAL_MODEL: localModel } = process.env;
const withoutLogprobs = process.env.CLIENT_WITHOUT === 'logprobs' && 'this model has none';
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
const hello = { model, messages: [{ role: 'user', content: 'Say hello.' }] };
const City = z.object({ size: z.enum(['small', 'large']), capital: z.boolean() });
const tools = [zodFunction({ name: 'weather', parameters: z.object({ city: z.enum(['Paris', 'Rome']) }) })];
const named = { type: 'function', function: { name: 'weather' } };

test('a completion, with its headers', async () => {
  const { data, response } = await client.chat.completions.create({ ...hello, max_tokens: 8 }).withResponse();

  assert.equal(data.model, localModel);
  assert.equal(data.choices[0].message.role, 'assistant');
  assert.ok(data.choices[0].message.content);
  assert.ok(data.meta.usage.credits_used > 0);
  assert.equal(data._request_id, response.headers.get('x-request-id'));
});

test('a stream', async () => {
  const stream = await client.chat.completions.create({
    ...hello, max_tokens: 8, stream: true, stream_options: { include_usage: true },
  });
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);

  const last = chunks.pop();
  assert.ok(chunks.map((chunk) => chunk.choices[0].delta.content ?? '').join(''));
  assert.deepEqual(last.choices, []);
  assert.ok(last.usage.completion_tokens > 0);
});

test('a stream that is left early', async () => {
  const stream = await client.chat.completions.create({ ...hello, max_tokens: 200, stream: true });
  for await (const _ of stream) break;

  assert.ok(stream.controller.signal.aborted);
});

test('several choices with logprobs', { skip: withoutLogprobs }, async () => {
  const { choices, usage } = await client.chat.completions.create({ ...hello, n: 2, max_tokens: 3, logprobs: true, top_logprobs: 2 });

  assert.deepEqual(choices.map((choice) => choice.index), [0, 1]);
  assert.equal(choices.flatMap((choice) => choice.logprobs.content).length, usage.completion_tokens);
});

test('a structured answer is parsed', async () => {
  const completion = await client.chat.completions.parse({
    ...hello, max_tokens: 60, response_format: zodResponseFormat(City, 'city'),
  });

  City.parse(completion.choices[0].message.parsed);
});

test('a forced call is parsed', async () => {
  const completion = await client.chat.completions.parse({ ...hello, max_tokens: 60, tools, tool_choice: named });

  const [choice] = completion.choices;
  assert.equal(choice.finish_reason, 'tool_calls');
  assert.ok(['Paris', 'Rome'].includes(choice.message.tool_calls[0].function.parsed_arguments.city));
});

test('a streamed call', async () => {
  const stream = client.chat.completions.stream({ ...hello, max_tokens: 60, tools, tool_choice: named });
  let deltas = '';
  stream.on('tool_calls.function.arguments.delta', ({ arguments_delta }) => { deltas += arguments_delta; });
  const message = await stream.finalMessage();

  assert.equal(message.tool_calls[0].function.arguments, deltas);
  assert.ok(['Paris', 'Rome'].includes(JSON.parse(deltas).city));
});

test('a tool is run and its result is given back', async () => {
  let asked = 0;
  const runner = client.chat.completions.runTools({
    ...hello,
    max_tokens: 60,
    tool_choice: named,
    tools: [{
      type: 'function',
      function: { name: 'weather', parse: JSON.parse, function: () => { asked += 1; return 'sunny'; }, parameters: { type: 'object', properties: {} } },
    }],
  });
  await runner.finalFunctionToolCallResult();

  assert.equal(asked, 1);
});

test('models', async () => {
  const ids = [];
  for await (const { id } of client.models.list()) ids.push(id);

  assert.ok(ids.includes(model) && ids.includes(localModel));
  assert.equal((await client.models.retrieve(model)).id, model);
});

test('errors have their classes, codes and parameters', async () => {
  await assert.rejects(new OpenAI({ baseURL, apiKey: 'tw_no', maxRetries: 0 }).chat.completions.create(hello), (error) =>
    error instanceof AuthenticationError && error.code === 'invalid_api_key' && /API key/.test(error.message));
  await assert.rejects(client.chat.completions.create({ ...hello, model: 'nope' }), (error) =>
    error instanceof NotFoundError && error.code === 'model_not_found' && error.param === 'model');
  await assert.rejects(client.chat.completions.create({ ...hello, temperature: 3 }), (error) =>
    error instanceof BadRequestError && error.param === 'temperature' && Boolean(error.requestID));
  await assert.rejects(client.chat.completions.create({ ...hello, top_p: 3, stream: true }), BadRequestError);
});

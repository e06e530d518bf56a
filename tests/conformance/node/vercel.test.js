// Vercel's AI SDK, through its provider for OpenAI-compatible services.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { APICallError, generateObject, generateText, streamText, tool } from 'ai';
import { z } from 'zod';

const { CLIENT_BASE_URL: baseURL, CLIENT_KEY: apiKey, CLIENT_MODEL, CLIENT_LOCAL_MODEL } = process.env;
const provider = createOpenAICompatible({
  name: 'tollway', baseURL, apiKey, includeUsage: true, supportsStructuredOutputs: true,
});
const model = provider(CLIENT_MODEL);
const common = { model, prompt: 'Say hello.', maxOutputTokens: 60, maxRetries: 0 };
const weather = tool({
  description: 'The weather of a city.',
  inputSchema: z.object({ city: z.enum(['Paris', 'Rome']) }),
  execute: async ({ city }) => `sunny in ${city}`,
});

test('text', async () => {
  const { text, usage, response } = await generateText({ ...common, maxOutputTokens: 8 });

  assert.ok(text);
  assert.ok(usage.outputTokens > 0);
  assert.equal(response.modelId, CLIENT_LOCAL_MODEL);
});

test('a stream of text', async () => {
  const result = streamText({ ...common, maxOutputTokens: 8, onError: ({ error }) => { throw error; } });
  let text = '';
  for await (const piece of result.textStream) text += piece;

  assert.ok(text);
  assert.ok((await result.usage).outputTokens > 0);
  assert.ok(['stop', 'length'].includes(await result.finishReason));
});

test('an object', async () => {
  const schema = z.object({ size: z.enum(['small', 'large']), capital: z.boolean() });
  const { object } = await generateObject({ ...common, schema });

  schema.parse(object);
});

test('a tool is called and its result is given back', async () => {
  const { steps } = await generateText({
    ...common,
    tools: { weather },
    prepareStep: ({ stepNumber }) => ({ toolChoice: stepNumber === 0 ? 'required' : 'none' }),
    stopWhen: ({ steps: done }) => done.length === 2,
  });

  assert.equal(steps.length, 2);
  assert.equal(steps[0].finishReason, 'tool-calls');
  assert.match(steps[0].toolResults[0].output, /^sunny in (Paris|Rome)$/);
  assert.ok(steps[1].text);
});

test('a streamed tool call', async () => {
  const result = streamText({ ...common, tools: { weather }, toolChoice: { type: 'tool', toolName: 'weather' } });
  const calls = await result.toolCalls;

  assert.ok(['Paris', 'Rome'].includes(calls[0].input.city));
});

test('errors show their message', async () => {
  await assert.rejects(generateText({ ...common, temperature: 3 }), (error) =>
    APICallError.isInstance(error) && error.statusCode === 400 && /temperature/.test(error.message));
});

// Makes dedup.json: what JavaScript says the idempotency keys of these bodies
// are. Run it with `node dedup.mjs > dedup.json` after changing the list.
import { createHash } from 'node:crypto';

const sha256 = (...parts) => {
  const h = createHash('sha256');
  for (const p of parts) h.update(p);
  return h.digest();
};

// The API guide's generateEventHash. `type` is read as `event_type`, and an event
// without a timestamp has the digest of its body in the key as well.
function key(body) {
  const event = JSON.parse(body);
  const json = JSON.stringify({
    workflow_id: event.workflow_id,
    agent_id: event.agent_id,
    timestamp: event.timestamp,
    event_type: event.event_type === undefined ? event.type : event.event_type,
  });
  const parts = [json];
  if (event.timestamp === undefined || event.timestamp === null) parts.push(sha256(body));
  return { body, json, key: sha256(...parts).toString('hex') };
}

const id = (text) => `{"workflow_id":"${text}","timestamp":1,"event_type":"started"}`;
const at = (number) => `{"workflow_id":"w","timestamp":${number},"event_type":"started"}`;

const bodies = [
  '{"event_type":"agent_status_update","timestamp":"2024-11-13T14:32:15Z","workflow_id":"wf_1","agent_id":"geo_audit","data":{}}',
  '{"workflow_id":"wf_1","event_type":"started"}',
  '{"workflow_id":"wf_1","event_type":"started","timestamp":null,"agent_id":null}',
  '{"workflow_id":"wf_1","event_type":null,"type":"started","timestamp":"t"}',
  '{"workflow_id":"wf_1","type":"started","timestamp":"t"}',
  '{"workflow_id":"wf_1","type":"other","event_type":"started","timestamp":"t"}',
  '{"workflow_id":"wf_1","execution_status":"success","timestamp":"t","agent_id":"a"}',
  '{"workflow_id":"first","timestamp":"1","workflow_id":"last","event_type":"started","timestamp":"2"}',
  '{"workflow_id":"w","timestamp":"1","event_type":"started","timestamp":null}',
  '{ "workflow_id" :\t"w" ,\r\n "timestamp" : "" , "event_type" : "started" }',
  '{"workflow_\\u0069d":"escaped name","timestamp":1,"event_type":"started"}',
  ...[
    'Grüße', '工作流', '😀', '\\ud83d\\ude00', '\\uD83D\\uDE00', 'a\u2028b\u2029c', '\\u2028', '<script>&amp;', '\u007f', '\\u007f',
    '\\/', 'a\\/b', '\\u0041', '\\u00e9', '\\\\u0041', 'say \\"hi\\"', '\\u0022', '\\u005c', '\\b\\f\\n\\r\\t', '\\u0008\\u000c\\u000a\\u000d\\u0009',
    '\\u0000', '\\u001f', '\\u000b', '\\ud800', '\\udc00', '\\uD800x', '\\ud800\\ud800\\udc00', '\\udc00\\ud800', '\\ud800\\u0041', '\\ud83d\\n\\ude00',
    '\\uffff', '\\ufeff', '\ufeff', 'e\u0301', '',
  ].map(id),
  ...[
    '0', '-0', '0.0', '-0.0e5', '1', '-1', '0.1', '1.10', '100e-2', '1e3', '1E+3', '1e20', '1e21', '123456789012345678901', '1e-6', '1e-7', '0.000001', '0.0000001',
    '1699123456789', '1699123456.789', '9007199254740993', '5e-324', '1e-400', '1.7976931348623157e308', '1e400', '-1e400', '4.35', '0.30000000000000004', '1.5e300', '-2.5E-10',
  ].map(at),
];

process.stdout.write(JSON.stringify(bodies.map(key), null, 1) + '\n');

// Verify a message with the public library, as a receiver of webhooks does; print what it holds.

const { Webhook } = require("standardwebhooks");

const { SECRET, HEADERS, BODY } = process.env;
console.log(JSON.stringify(new Webhook(SECRET).verify(BODY, JSON.parse(HEADERS))));

package schema

// notRequired are the fields, by component, that OpenAPI calls required and the API
// server does without. Each was seen to be accepted by a server.
var notRequired = map[string][]string{}

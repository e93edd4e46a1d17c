// What the key or the role of the person allows; buttons that need more are not made.

let scopes = [];

export const allow = (given) => { scopes = given; };
export const may = (scope) => scopes.includes("admin") || scopes.includes(scope);

// An issuer of OpenID Connect with the pages for development that the library brings: any name
// signs in, with any password. Standard input has, as JSON: address, port, issuer, tls {key, cert},
// secret, redirects, groups {name: [group]}.
import fs from "node:fs";
import https from "node:https";
import Provider from "oidc-provider";

const given = JSON.parse(fs.readFileSync(0, "utf8"));
const provider = new Provider(given.issuer, {
  clients: [
    {
      client_id: "mlflow",
      client_secret: given.secret,
      redirect_uris: given.redirects,
      grant_types: ["authorization_code"],
      response_types: ["code"],
    },
  ],
  claims: {
    openid: ["sub"],
    email: ["email", "email_verified"],
    profile: ["name"],
    groups: ["groups"],
  },
  scopes: ["openid", "email", "profile", "groups"],
  conformIdTokenClaims: false,
  cookies: { keys: [given.secret] },
  features: { devInteractions: { enabled: true } },
  findAccount: (_, name) => ({
    accountId: name,
    claims: () => ({
      sub: name,
      name,
      email: name,
      email_verified: true,
      groups: given.groups[name] ?? [],
    }),
  }),
});
https
  .createServer({ key: given.tls.key, cert: given.tls.cert }, provider.callback())
  .listen(given.port, given.address, () => console.log("listening"));

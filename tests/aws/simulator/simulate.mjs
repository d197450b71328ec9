// Requests on standard input, a JSON array of simulations of @cloud-copilot/iam-simulate; out come
// their results in the same order.
import { readFileSync } from 'node:fs'
import { runSimulation } from '@cloud-copilot/iam-simulate'

const results = []
for (const simulation of JSON.parse(readFileSync(0, 'utf8'))) {
  // Strict: a context key that AWS would not send with the action counts as absent.
  results.push(await runSimulation(simulation, { simulationMode: 'Strict' }))
}
process.stdout.write(JSON.stringify(results))

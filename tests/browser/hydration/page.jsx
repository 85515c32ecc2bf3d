// A page that its server has drawn and that React takes over: every paragraph is a target of an experiment.
import React from "react";
import { hydrateRoot } from "react-dom/client";

const NAMES = ["text", "html", "style", "class", "css"];

function Page() {
  const [steps, setSteps] = React.useState(0);
  React.useEffect(() => {
    window.step = () => setSteps((before) => before + 1);
    window.steps = steps;
  });
  return (
    <main>
      {NAMES.map((name) => <p key={name} id={name} className="original">old</p>)}
      <output>{`steps: ${steps}`}</output>
      {steps > 1 && <ul>{Array.from({ length: steps }, (_, i) => <li key={i} className="late">late</li>)}</ul>}
    </main>
  );
}

window.hydrate = () => hydrateRoot(document.getElementById("root"), <Page />, {
  onRecoverableError: (error) => { window.recovered = (window.recovered ?? 0) + 1; },
});

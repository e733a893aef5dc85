// The types of what the dashboards consist of, as JSON: an enum is one of its values.
import type {
  Dashboard,
  DataSourceRef,
  GraphFieldConfig,
  Panel,
  RowPanel,
  VariableModel,
  VizLegendOptions,
  VizTooltipOptions,
} from "@grafana/schema";

type Json<T> = T extends string
  ? `${T}`
  : T extends number
    ? `${T}` extends `${infer N extends number}`
      ? N
      : T
    : T extends (infer E)[]
      ? Json<E>[]
      : T extends object
        ? { [K in keyof T]: Json<T[K]> }
        : T;

/** A query of the Prometheus data source. Grafana's types leave targets open. */
interface Target {
  refId: string;
  datasource: DataSourceRef;
  expr: string;
  legendFormat: string;
  range: boolean;
  instant: boolean;
}

/** Grafana's types leave the options of a panel open: these are those of its time series. */
interface TimeSeries extends Omit<Panel, "options" | "fieldConfig" | "targets"> {
  type: "timeseries";
  id: number;
  targets: Target[];
  options: { legend: VizLegendOptions; tooltip: VizTooltipOptions };
  fieldConfig: {
    defaults: Omit<NonNullable<Panel["fieldConfig"]>["defaults"], "custom"> & {
      custom: GraphFieldConfig;
    };
    overrides: NonNullable<Panel["fieldConfig"]>["overrides"];
  };
}

/** The value of a variable that reads the labels of series. */
interface Variable extends Omit<VariableModel, "query"> {
  query: string | { qryType: number; query: string; refId: string };
}

export type Checked = Json<
  Omit<Dashboard, "panels" | "templating"> & {
    uid: string;
    version: number;
    panels: (TimeSeries | RowPanel)[];
    templating: { list: Variable[] };
  }
>;

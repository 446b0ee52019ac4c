import java.util.Properties;
import java.util.Set;
import org.apache.ranger.authorization.hadoop.config.RangerPluginConfig;
import org.apache.ranger.plugin.policyengine.RangerAccessRequestImpl;
import org.apache.ranger.plugin.policyengine.RangerAccessResourceImpl;
import org.apache.ranger.plugin.policyengine.RangerAccessResult;
import org.apache.ranger.plugin.service.RangerBasePlugin;

/** Polls an Admin with Ranger's client; prints a column's mask until the awaited policy version. */
public class Poll {
    public static void main(String[] arguments) throws Exception {
        String prefix = "ranger.plugin.sink.";
        Properties options = new Properties();
        options.setProperty(
            prefix + "policy.source.impl", "org.apache.ranger.admin.client.RangerAdminRESTClient");
        options.setProperty(prefix + "policy.rest.url", arguments[0]);
        options.setProperty(prefix + "policy.pollIntervalMs", "200");
        options.setProperty(prefix + "policy.cache.dir", arguments[1]);
        options.setProperty(prefix + "policyengine.option.disable.tag.retriever", "true");
        options.setProperty(prefix + "policyengine.option.disable.userstore.retriever", "true");
        RangerBasePlugin engine = new RangerBasePlugin(
            new RangerPluginConfig("sink", arguments[2], "sinkapp", options));
        engine.init();
        String[] names = arguments[3].split("\\.");
        String last = "";
        while (!last.startsWith(arguments[5])) {
            RangerAccessResourceImpl resource = new RangerAccessResourceImpl();
            String[] levels = {"database", "schema", "table", "column"};
            for (int i = 0; i < levels.length; i++) {
                resource.setValue(levels[i], names[i]);
            }
            RangerAccessResult found = engine.evalDataMaskPolicies(
                new RangerAccessRequestImpl(resource, "select", null, Set.of(arguments[4]), null),
                null);
            String now = engine.getPoliciesVersion() + " " + found.getMaskType();
            if (!now.equals(last)) {
                System.out.println(now);
                System.out.flush();
            }
            last = now;
            Thread.sleep(100);
        }
        System.exit(0);
    }
}
